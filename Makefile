# lua-libevent: build, run, test, install. The README's two commands are
# `make run` and `make test`; both install what is missing first.

VERSION = 0.1.0
PREFIX = /usr/local
LUA_VERSION = 5.4
LUA_DIR = $(PREFIX)/share/lua/$(LUA_VERSION)
LUA_LIB = $(PREFIX)/lib/lua/$(LUA_VERSION)
LIBDIR = $(PREFIX)/lib

LUA = lua5.4
LUAROCKS = luarocks --lua-version $(LUA_VERSION)
BUSTED = busted
LUACHECK = luacheck
PKG_CONFIG = pkg-config
CC = cc

LUA_PC = $(shell for p in lua5.4 lua-5.4 lua54 lua; do \
  $(PKG_CONFIG) --exists "$$p" 2>/dev/null && echo $$p && break; done)
LUA_LIBS = $(shell $(PKG_CONFIG) --libs $(LUA_PC))
LUA_CFLAGS = $(shell $(PKG_CONFIG) --cflags $(LUA_PC))
EVENT_CFLAGS = $(shell $(PKG_CONFIG) --cflags libevent_core)
EVENT_LIBS = $(shell $(PKG_CONFIG) --libs libevent_extra libevent_core)
SSL_CFLAGS = $(shell $(PKG_CONFIG) --silence-errors --cflags openssl)
SSL_LIBS = $(shell $(PKG_CONFIG) --silence-errors --libs "openssl >= 3.0")

CFLAGS = -O2 -g
WARN = -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes
CFLAGS_ALL = -std=c99 -fPIC -fvisibility=hidden $(WARN) $(LUA_CFLAGS) \
  $(EVENT_CFLAGS) $(SANFLAGS) $(GCFLAGS) $(CFLAGS)
SHARED = $(if $(filter Darwin,$(shell uname)),-bundle -undefined \
  dynamic_lookup,-shared)

# SAN=1 builds and tests under AddressSanitizer and UBSan, in a tree of its
# own. Leaks are valgrind's: the interpreter's own would be reported too.
ifdef SAN
BUILD = build-san
SANFLAGS = -fsanitize=address,undefined -fno-sanitize-recover=all \
  -fno-omit-frame-pointer
SANENV = LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) \
  $$($(CC) -print-file-name=libubsan.so)" \
  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
else
BUILD = build
endif

# GC=1 collects garbage before and after each callback and in each constructor,
# the young of it where there is much, in every interpreter that the specs run;
# GC=incremental by the other collector, which then never rests.
ifdef GC
BUILD := $(BUILD)-gc
GCFLAGS = -DLEV_COLLECT
GCENV = LUA_INIT="collectgarbage $(if $(filter incremental,$(GC)),\
  ('incremental', 0, 1000),'generational')"
endif

# PLAIN=1 without the direct way of src/bufferevent_direct.c: libevent reads and
# writes all by itself, and nothing else is different.
ifdef PLAIN
BUILD := $(BUILD)-plain
GCFLAGS += -DLEV_PLAIN
endif

# What `make coverage` builds and runs.
ifdef COV
BUILD := $(BUILD)-cov
SANFLAGS = --coverage -DLEV_COVERAGE
CFLAGS = -O0 -g
endif

# What a program with Lua and libevent in it is linked with.
SYSTEM_LIBS = -lpthread -ldl -lm
HOST_LIBS = $(EVENT_LIBS) $(LUA_LIBS) $(SYSTEM_LIBS)

CORE = $(BUILD)/libevent/core.so
TLS = $(BUILD)/libevent/tls.so
TLS_OBJECTS = $(patsubst src/%.c,$(BUILD)/%.o,$(wildcard src/tls/*.c)) \
  $(BUILD)/values.o
OBJECTS = $(patsubst src/%.c,$(BUILD)/%.o,$(wildcard src/*.c))
TREE = LUA_PATH="$(CURDIR)/lua/?.lua;$(CURDIR)/lua/?/init.lua;;" \
  LUA_CPATH="$(CURDIR)/$(BUILD)/?.so;;$(CURDIR)/$(BUILD)/standin/?.so" \
  LUA=$(LUA)
# The host programs of examples/embedding; one of them again under
# ThreadSanitizer, which goes with no other one.
HOSTS = scripted_server threads states one_executable
RACES = $(if $(filter build,$(BUILD)),threads_races)
# What the specs and the benchmarks run beside Lua.
TOOLS = $(BUILD)/load $(BUILD)/http_load $(BUILD)/tls_load $(BUILD)/host \
  $(BUILD)/threads $(BUILD)/pipes $(BUILD)/embedding \
  $(addprefix $(BUILD)/examples/,$(HOSTS) $(RACES)) \
  $(BUILD)/torture $(BUILD)/parsers $(BUILD)/faults.so \
  $(BUILD)/mallinfo.so $(BUILD)/standin/posix.so $(BUILD)/keyupdates
SPECS = spec
# JOBS test runners side by side, a file each, but those that SKIP names; or one
# for all of them, if JOBS is nothing.
JOBS = $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
SKIP =
SIDE_BY_SIDE = $(JOBS:%=-j%)
BUSTEDS = $(if $(JOBS),scripts/specs $(JOBS) "$(1)" $(filter-out $(SKIP), \
  $(wildcard $(SPECS:spec=spec/*_spec.lua))),$(1) $(SPECS))
SECONDS = 180

.PHONY: all run test examples valgrind coverage soak bench fuzz fuzz-parsers \
  testssl lint checks install uninstall clean env

# Without OpenSSL all but libevent.tls.
all: $(CORE) $(if $(SSL_LIBS),$(TLS))

$(CORE): $(OBJECTS)
	@mkdir -p $(@D)
	$(CC) $(SHARED) $(SANFLAGS) $(LDFLAGS) -o $@ $(OBJECTS) $(EVENT_LIBS) \
	  -lpthread

$(TLS): $(TLS_OBJECTS)
	@mkdir -p $(@D)
	$(CC) $(SHARED) $(SANFLAGS) $(LDFLAGS) -o $@ $(TLS_OBJECTS) $(SSL_LIBS) \
	  $(EVENT_LIBS) -lpthread

$(BUILD)/tls/%.o: src/tls/%.c $(wildcard src/*.h src/tls/*.h)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) $(SSL_CFLAGS) -Isrc -c -o $@ $<

$(BUILD)/%.o: src/%.c $(wildcard src/*.h) | $(BUILD)
	$(CC) $(CFLAGS_ALL) -c -o $@ $<

# The library for hosts: one object, in which only what lualibevent.h has is
# left to link with, and the parts in Lua.
LIBRARY = $(BUILD)/liblualibevent.a
PARTS = $(filter-out %/_meta.lua,$(wildcard lua/libevent/*.lua))

$(LIBRARY): $(OBJECTS) $(BUILD)/embedded/libevent.o
	$(LD) -r -o $(BUILD)/whole.o $^
	if command -v objcopy >/dev/null; then \
	  objcopy --localize-hidden $(BUILD)/whole.o; fi
	rm -f $@
	$(AR) rc $@ $(BUILD)/whole.o

$(BUILD)/embedded/libevent.o: src/embedded/libevent.c \
  $(BUILD)/embedded/parts.h $(wildcard src/*.h)
	$(CC) $(CFLAGS_ALL) -Isrc -I$(@D) -c -o $@ $<

$(BUILD)/embedded/parts.h: scripts/embed.lua $(PARTS)
	@mkdir -p $(@D)
	$(LUA) scripts/embed.lua $(PARTS) >$@

$(BUILD):
	mkdir -p $@

# The echo server, on the address of ADDRESS=... if given.
run:
	@scripts/dependencies build
	@$(MAKE) --no-print-directory -s $(SIDE_BY_SIDE) all
	@$(TREE) $(LUA) examples/echo_server.lua $(ADDRESS)

test:
	@scripts/dependencies test
	@$(MAKE) --no-print-directory -s $(SIDE_BY_SIDE) all $(TOOLS)
	@$(TREE) $(SANENV) $(GCENV) BUILD=$(CURDIR)/$(BUILD) \
	  $(call BUSTEDS,$(LUA) $$(command -v $(BUSTED)))

# Host programs as others build them: with the library, or with its objects.
HOST_CFLAGS = -std=c99 $(WARN) -Isrc $(LUA_CFLAGS) $(EVENT_CFLAGS) \
  $(SANFLAGS) $(CFLAGS)
examples: $(addprefix $(BUILD)/examples/,$(HOSTS))

$(BUILD)/examples/%: examples/embedding/%.c src/lualibevent.h $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) $(HOST_CFLAGS) -o $@ $< $(LIBRARY) $(HOST_LIBS)

$(BUILD)/embedding: spec/c/embedding.c src/lualibevent.h $(LIBRARY)
	$(CC) $(HOST_CFLAGS) -o $@ $< $(LIBRARY) $(HOST_LIBS)

$(BUILD)/examples/threads_races: examples/embedding/threads.c \
  src/embedded/libevent.c $(BUILD)/embedded/parts.h $(wildcard src/*.[ch])
	@mkdir -p $(@D)
	$(CC) $(HOST_CFLAGS) -I$(BUILD)/embedded -fsanitize=thread -o $@ \
	  $(filter %.c,$^) $(HOST_LIBS)

# Lua and libevent, too, from their static libraries.
$(BUILD)/examples/one_executable: examples/embedding/one_executable.c \
  examples/echo_server.lua src/lualibevent.h $(LIBRARY)
	@mkdir -p $(@D)
	$(LUA) scripts/embed.lua examples/echo_server.lua >$(@D)/script.h
	$(CC) $(HOST_CFLAGS) -I$(@D) -o $@ $< $(LIBRARY) -Wl,-Bstatic \
	  $(EVENT_LIBS) $(LUA_LIBS) -Wl,-Bdynamic $(SYSTEM_LIBS)

# The specs again, in search of leaks and of reads and writes gone astray: in
# what they start as well, but for shells and other people's programs.
VALGRIND = valgrind -q --leak-check=full --errors-for-leak-kinds=definite \
  --show-leak-kinds=definite --error-exitcode=9
valgrind:
	@scripts/dependencies valgrind
	@$(MAKE) --no-print-directory -s $(SIDE_BY_SIDE) all $(TOOLS)
	@$(TREE) LUA="$(VALGRIND) $(LUA)" VALGRIND="$(VALGRIND)" \
	  BUILD=$(CURDIR)/$(BUILD) \
	  $(call BUSTEDS,$(VALGRIND) $(LUA) $$(command -v $(BUSTED)))

# What of src/ the specs run, by gcov, into doc/coverage.md. What the module
# exports is not what it does in this build.
coverage:
ifdef COV
	@rm -f $(BUILD)/*.gcda $(BUILD)/tls/*.gcda
	@$(MAKE) --no-print-directory -s test \
	  SPECS="$(filter-out spec/package_spec.lua,$(wildcard spec/*_spec.lua))"
	@$(LUA) scripts/coverage.lua $(BUILD) >doc/coverage.md
	@grep "^| all" doc/coverage.md
else
	@$(MAKE) --no-print-directory coverage COV=1
endif

# A mixed load for MINUTES, and what it leaves behind.
MINUTES = 10
soak:
	@scripts/dependencies test
	@$(MAKE) --no-print-directory -s all $(BUILD)/load
	@$(TREE) BUILD=$(CURDIR)/$(BUILD) $(LUA) bench/soak.lua $(MINUTES)

# Servers, timers and events of this library and of others, in turns, into
# bench/RESULTS.md; with ONLY=pattern only some cases, and onto the screen.
ROUNDS = 7
ONLY =
BENCHES = $(addprefix $(BUILD)/bench/,epoll events bufferevent evhttp \
  tls_bufferevent timers dispatch)
bench:
	@scripts/dependencies bench
	@$(MAKE) --no-print-directory -s all $(BUILD)/load $(BUILD)/http_load \
	  $(BUILD)/tls_load $(BENCHES)
	@$(TREE) BUILD=$(CURDIR)/$(BUILD) $(LUA) bench/bench.lua $(ROUNDS) "$(ONLY)"

# Random programs on the whole API, under the sanitizers, for SECONDS, or with
# PROGRAM=dns mutated packets of DNS, with PROGRAM=http mutated messages, with
# PROGRAM=tls a man in the middle, with PROGRAM=co tasks; with SEED=n those of
# one seed.
fuzz:
ifdef SAN
	@scripts/dependencies test
	@$(MAKE) --no-print-directory -s $(SIDE_BY_SIDE) all
	@$(TREE) $(SANENV) PROGRAM=$(PROGRAM) spec/fuzz/run $(SECONDS) $(SEED)
else
	@$(MAKE) --no-print-directory fuzz SAN=1
endif

# What reads bytes and numbers, for SECONDS each, by clang's libFuzzer, or with
# TARGET='http*' some of it. With KEEP=1 what it found goes into
# spec/fuzz/corpus, as little as covers all.
fuzz-parsers:
	@scripts/dependencies fuzz
	@$(MAKE) --no-print-directory -s build-fuzz/parsers
	@LUA=$(LUA) KEEP=$(KEEP) TARGET="$(TARGET)" spec/fuzz/run_parsers $(SECONDS)

build-fuzz/parsers: spec/fuzz/parsers.c $(wildcard src/*.[ch])
	@mkdir -p $(@D)
	clang -std=c99 -O1 -g -fsanitize=fuzzer,address,undefined \
	  -fno-sanitize-recover=all -DLIBFUZZER -Isrc $(LUA_CFLAGS) \
	  $(EVENT_CFLAGS) -o $@ $(filter %.c,$^) $(HOST_LIBS)

$(BUILD)/load $(BUILD)/http_load $(BUILD)/tls_load: $(BUILD)/%: bench/%.c \
  bench/client.c bench/client.h | $(BUILD)
	$(CC) -std=c99 $(WARN) $(CFLAGS) -o $@ $(filter %.c,$^) $(CLIENT_LIBS)

$(BUILD)/tls_load: CFLAGS += $(SSL_CFLAGS)
$(BUILD)/tls_load: CLIENT_LIBS = $(SSL_LIBS)

$(BUILD)/bench/%: bench/servers/%.c
	@mkdir -p $(@D)
	$(CC) -std=c99 $(WARN) $(EVENT_CFLAGS) $(CFLAGS) -o $@ $< $(EVENT_LIBS)

$(BUILD)/bench/tls_bufferevent: CFLAGS += $(SSL_CFLAGS)
$(BUILD)/bench/tls_bufferevent: EVENT_LIBS += -levent_openssl $(SSL_LIBS)

$(BUILD)/bench/%: bench/%/libevent.c
	@mkdir -p $(@D)
	$(CC) -std=c99 $(WARN) $(EVENT_CFLAGS) $(CFLAGS) -o $@ $< $(EVENT_LIBS)

# A client of TLS that has nothing of ours.
$(BUILD)/keyupdates: spec/c/keyupdates.c | $(BUILD)
	$(CC) -std=c99 $(WARN) $(SSL_CFLAGS) $(CFLAGS) -o $@ $< $(SSL_LIBS)

# Stand before libc, and look into it: nothing of them may be instrumented.
$(BUILD)/faults.so $(BUILD)/mallinfo.so: $(BUILD)/%.so: spec/c/%.c | $(BUILD)
	$(CC) -std=c99 -fPIC $(WARN) $(LUA_CFLAGS) $(CFLAGS) $(SHARED) -o $@ $< -ldl

# For luaposix, where there is none: behind all else in LUA_CPATH.
$(BUILD)/standin/posix.so: spec/c/posix.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -fvisibility=default $(SHARED) -o $@ $<

# Host programs: Lua and the objects of the module linked in.
$(BUILD)/host $(BUILD)/threads: $(BUILD)/%: spec/c/%.c src/lualibevent.h \
  $(OBJECTS) $(BUILD)/embedded/libevent.o
	$(CC) $(CFLAGS_ALL) -Isrc -o $@ $(filter %.c %.o,$^) $(HOST_LIBS)

# A third one, with TLS in it, too, and what it puts functions of its own in
# place of.
WRAPPED = malloc calloc realloc free strdup bufferevent_filter_new event_reinit
$(BUILD)/torture: spec/c/torture.c src/lualibevent.h $(OBJECTS) \
  $(BUILD)/embedded/libevent.o $(TLS_OBJECTS)
	$(CC) $(CFLAGS_ALL) $(SSL_CFLAGS) -Isrc $(addprefix \
	  -Wl$(comma)--wrap=,$(WRAPPED)) -o $@ $(filter %.c %.o,$^) $(SSL_LIBS) \
	  $(HOST_LIBS)
comma = ,

# The second one again, its wakers as they are where there is no eventfd.
$(BUILD)/pipes: spec/c/threads.c src/waker.c $(OBJECTS)
	$(CC) $(CFLAGS_ALL) -Isrc -DLEV_NOEVENTFD -o $@ $< src/waker.c \
	  $(filter-out %/waker.o,$(OBJECTS)) $(HOST_LIBS)

# What fuzz-parsers runs, for inputs that are there.
$(BUILD)/parsers: spec/fuzz/parsers.c $(OBJECTS)
	$(CC) $(CFLAGS_ALL) -Isrc -o $@ $< $(OBJECTS) $(HOST_LIBS)

# What testssl.sh says of the HTTPS example, in a minute.
testssl:
	@scripts/dependencies testssl
	@$(MAKE) --no-print-directory -s all
	@$(TREE) scripts/testssl

# Leaks are valgrind's: gcc takes what lies behind a pointer for lost.
EACH = xargs -P $(or $(JOBS),1) -I '{}'
lint:
	@scripts/dependencies lint
	@$(MAKE) --no-print-directory checks

checks:
	$(LUACHECK) lua examples spec bench
	cppcheck --quiet --std=c99 --error-exitcode=1 --inline-suppr \
	  --enable=warning,performance,portability -Isrc src examples/embedding
	ls src/*.c src/tls/*.c | $(EACH) gcc $(CFLAGS_ALL) $(SSL_CFLAGS) \
	  -fanalyzer -Wno-analyzer-malloc-leak -Werror -c -o /dev/null '{}'
	ls src/*.c src/tls/*.c | $(EACH) clang-tidy -quiet '{}' -- -std=c99 \
	  $(LUA_CFLAGS) $(EVENT_CFLAGS) $(SSL_CFLAGS) 2>/dev/null

# What a shell needs to run scripts from this tree: eval "$(make env)"
env:
	@echo 'export $(TREE)'

# What a compiler needs to know of the library, for pkg-config.
define PC
prefix=$(PREFIX)
libdir=$(patsubst $(PREFIX)/%,$${prefix}/%,$(LIBDIR))
includedir=$${prefix}/include

Name: lua-libevent
Description: libevent for Lua, in a program that has a loop of its own
Version: $(VERSION)
Requires: $(LUA_PC) libevent_extra libevent_core
Libs: -L$${libdir} -llualibevent $(SYSTEM_LIBS)
Cflags: -I$${includedir}
endef
export PC

install: all $(LIBRARY)
	install -d $(DESTDIR)$(LUA_LIB)/libevent $(DESTDIR)$(LUA_DIR)/libevent \
	  $(DESTDIR)$(PREFIX)/include $(DESTDIR)$(LIBDIR)/pkgconfig
	install -m 755 $(CORE) $(DESTDIR)$(LUA_LIB)/libevent/core.so
	$(if $(SSL_LIBS),install -m 755 $(TLS) $(DESTDIR)$(LUA_LIB)/libevent/)
	install -m 644 lua/libevent/*.lua $(DESTDIR)$(LUA_DIR)/libevent/
	install -m 644 src/lualibevent.h $(DESTDIR)$(PREFIX)/include/
	install -m 644 $(LIBRARY) $(DESTDIR)$(LIBDIR)/
	echo "$$PC" >$(DESTDIR)$(LIBDIR)/pkgconfig/lualibevent.pc

uninstall:
	rm -f $(DESTDIR)$(LUA_LIB)/libevent/core.so \
	  $(DESTDIR)$(LUA_LIB)/libevent/tls.so \
	  $(DESTDIR)$(PREFIX)/include/lualibevent.h \
	  $(DESTDIR)$(LIBDIR)/liblualibevent.a \
	  $(DESTDIR)$(LIBDIR)/pkgconfig/lualibevent.pc
	rm -f $(addprefix $(DESTDIR)$(LUA_DIR)/libevent/,$(notdir \
	  $(wildcard lua/libevent/*.lua)))
	-rmdir $(DESTDIR)$(LUA_LIB)/libevent $(DESTDIR)$(LUA_DIR)/libevent

clean:
	rm -rf build build-* fuzz-*.txt
