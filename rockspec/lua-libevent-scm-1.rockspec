rockspec_format = "3.0"
package = "lua-libevent"
version = "scm-1"

source = {
  url = "git+https://github.com/lua-libevent/lua-libevent.git",
}

description = {
  summary = "libevent 2.1: events, sockets, TLS, DNS, HTTP for Lua 5.4",
  detailed = [[
libevent's objects (event_base, event, evbuffer, bufferevent, evconnlistener,
evdns_base, evhttp) as userdata with Lua callbacks, driven by libevent's reactor
in C; TLS by OpenSSL.]],
  license = "MIT",
  labels = {"network", "events", "sockets", "tls", "dns", "http", "async"},
}

supported_platforms = {"unix"}

dependencies = {
  "lua >= 5.4",
}

external_dependencies = {
  LIBEVENT = {header = "event2/event.h", library = "event_core"},
  OPENSSL = {header = "openssl/ssl.h", library = "ssl"},
}

build = {
  type = "builtin",
  modules = {
    ["libevent"] = "lua/libevent/init.lua",
    ["libevent._meta"] = "lua/libevent/_meta.lua",
    ["libevent.co_body"] = "lua/libevent/co_body.lua",
    ["libevent.co_dns"] = "lua/libevent/co_dns.lua",
    ["libevent.co_http"] = "lua/libevent/co_http.lua",
    ["libevent.co_http_client"] = "lua/libevent/co_http_client.lua",
    ["libevent.co_http_server"] = "lua/libevent/co_http_server.lua",
    ["libevent.datagram"] = "lua/libevent/datagram.lua",
    ["libevent.expect"] = "lua/libevent/expect.lua",
    ["libevent.form"] = "lua/libevent/form.lua",
    ["libevent.html"] = "lua/libevent/html.lua",
    ["libevent.http"] = "lua/libevent/http.lua",
    ["libevent.http_pool"] = "lua/libevent/http_pool.lua",
    ["libevent.http_request"] = "lua/libevent/http_request.lua",
    ["libevent.httpdate"] = "lua/libevent/httpdate.lua",
    ["libevent.multipart"] = "lua/libevent/multipart.lua",
    ["libevent.channel"] = "lua/libevent/channel.lua",
    ["libevent.co"] = "lua/libevent/co.lua",
    ["libevent.co_stream"] = "lua/libevent/co_stream.lua",
    ["libevent.relay"] = "lua/libevent/relay.lua",
    ["libevent.socket"] = "lua/libevent/socket.lua",
    ["libevent.socket_buffer"] = "lua/libevent/socket_buffer.lua",
    ["libevent.socket_dns"] = "lua/libevent/socket_dns.lua",
    ["libevent.socket_select"] = "lua/libevent/socket_select.lua",
    ["libevent.socket_tcp"] = "lua/libevent/socket_tcp.lua",
    ["libevent.socket_udp"] = "lua/libevent/socket_udp.lua",
    ["libevent.socket_wait"] = "lua/libevent/socket_wait.lua",
    ["libevent.ssl"] = "lua/libevent/ssl.lua",
    ["libevent.ssl_context"] = "lua/libevent/ssl_context.lua",
    ["libevent.uri"] = "lua/libevent/uri.lua",
    ["libevent.core"] = {
      sources = {
        "src/base.c",
        "src/buffer.c",
        "src/buffer_change.c",
        "src/buffer_reference.c",
        "src/buffer_search.c",
        "src/buffer_segment.c",
        "src/buffer_transfer.c",
        "src/bufferevent.c",
        "src/bufferevent_call.c",
        "src/bufferevent_direct.c",
        "src/bufferevent_filter.c",
        "src/bufferevent_group.c",
        "src/bufferevent_hostname.c",
        "src/bufferevent_pair.c",
        "src/bufferevent_ratelim.c",
        "src/bufferevent_sock.c",
        "src/bufferevent_tls.c",
        "src/callback.c",
        "src/core.c",
        "src/dns.c",
        "src/dns_files.c",
        "src/dns_lookup.c",
        "src/dns_packet.c",
        "src/dns_question.c",
        "src/dns_server.c",
        "src/dump.c",
        "src/event.c",
        "src/http.c",
        "src/http_client.c",
        "src/http_make.c",
        "src/http_parse.c",
        "src/http_reply.c",
        "src/http_request.c",
        "src/http_route.c",
        "src/http_server.c",
        "src/http_stream.c",
        "src/http_text.c",
        "src/listener.c",
        "src/log.c",
        "src/object.c",
        "src/process.c",
        "src/task.c",
        "src/task_end.c",
        "src/task_run.c",
        "src/task_stream.c",
        "src/task_times.c",
        "src/task_wait.c",
        "src/task_wrap.c",
        "src/util.c",
        "src/values.c",
        "src/waker.c",
      },
      incdirs = {"$(LIBEVENT_INCDIR)"},
      libdirs = {"$(LIBEVENT_LIBDIR)"},
      libraries = {"event_extra", "event_core", "pthread"},
    },
    ["libevent.tls"] = {
      sources = {
        "src/tls/context.c",
        "src/tls/describe.c",
        "src/tls/options.c",
        "src/tls/session.c",
        "src/tls/settings.c",
        "src/values.c",
      },
      incdirs = {"src", "$(LIBEVENT_INCDIR)", "$(OPENSSL_INCDIR)"},
      libdirs = {"$(LIBEVENT_LIBDIR)", "$(OPENSSL_LIBDIR)"},
      libraries = {"ssl", "crypto", "event_core", "pthread"},
    },
  },
  copy_directories = {"doc", "examples"},
}
