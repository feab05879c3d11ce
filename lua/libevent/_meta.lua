---@meta libevent

--- libevent for Lua. One rule gives the names: libevent's name, its noun
--- dropped, called on the object: `event_base_dispatch(base)` is
--- `base:dispatch()`. The line `C:` tells the function that each one stands
--- for.
---
--- A mistake of the caller's raises: an argument of a wrong type or out of
--- range, an unknown word or option, any method but `close` on an object that
--- is closed, a lack of memory. That holds for every function; a sentence with
--- "Raises" tells what else does. A refusal of the system's returns nil, a
--- message and an errno.
---
--- An object lives as long as libevent may still call it, or the script holds
--- it. `close` ends it at once, may be called again, and is also `__close` and
--- `__gc`.
---
--- Callbacks run on a thread of the base's own and cannot yield: start a
--- coroutine in them instead. An error in one ends the loop and is raised by
--- `base:dispatch`, unless `base:set_error_cb` takes it. Any method of any
--- object may be called in any callback.
---@class libevent
--- Name and version of this library: "lua-libevent 0.1.0".
---@field _VERSION string
--- What libevent.co is made of, and nobody else.
---@field task table<string, function>
local libevent = {}

--- Binary safe. A string of 16 KiB or more is not copied, but kept for as long
--- as its bytes are on their way. A number is written as Lua prints it. A
--- Buffer gives its bytes away without a copy and is empty afterwards.
---@alias libevent.data string|number|libevent.Buffer

--- An open descriptor: its number, a Lua file, or any object with a method
--- `getfd` (a Bufferevent, a socket of LuaSocket's or LuaSec's). An object is
--- kept alive for as long as its descriptor is in use.
---@alias libevent.descriptor integer|file*|{getfd: fun(self): integer}

--- "127.0.0.1:80", "[::1]:80", "unix:/path", or "unix:@name" in Linux's
--- abstract name space. No host names: those are for `connect_hostname`. To
--- listen on port 0 is to ask for a free one.
---@alias libevent.address string

--- From 0 to 2147483647, fractions allowed, exact to the microsecond.
---@alias libevent.seconds number

--- A number, or a name with or without "SIG": "INT", "SIGINT". KILL and STOP
--- cannot be caught.
---@alias libevent.signal integer|string

--- Whose callbacks libevent calls.
---@alias libevent.sockopt
---| "nodelay" | "keepalive" | "keepidle" | "keepintvl" | "keepcnt"
---| "sndbuf" | "rcvbuf"
---@alias libevent.filtercb fun(source: libevent.Buffer, sink: libevent.Buffer,
--- mode: "normal"|"flush"|"finished"): any, string?, integer?
---@alias libevent.relaycb fun(a: libevent.Bufferevent,
--- b: libevent.Bufferevent, what: "eof"|"timeout"|"error", detail: string,
--- errno: integer?)
---@alias libevent.object
---| libevent.Event
---| libevent.Waker
---| libevent.Bufferevent
---| libevent.Listener
---| libevent.Buffer
---| libevent.DnsRequest
---| libevent.DnsServer
---| libevent.Http
---| libevent.HttpConnection

--- What an event waits for, joined by "|".
---@alias libevent.events
---| string
---| "read"    # there is something to read, or the end of it
---| "write"   # something can be written
---| "closed"  # the peer has closed; not with every back end
---| "persist" # stay pending after the callback
---| "et"      # edge-triggered: tell of changes only
---| "timeout" # says nothing: `add` decides on a timeout

--- What has happened, joined by "|"; "" is an event that was made active
--- without a word.
---@alias libevent.what
---| string
---| "timeout"
---| "read"
---| "write"
---| "signal"
---| "closed"

--- One direction, or both: "read|write".
---@alias libevent.directions
---| string
---| "read"
---| "write"

--- How a loop runs, joined by "|".
---@alias libevent.loopflags
---| string
---| "once"             # wait for events, run their callbacks, return
---| "nonblock"         # run what is due now, do not wait
---| "no_exit_on_empty" # stay when no event is left

--- What is counted, joined by "|".
---@alias libevent.counts
---| string
---| "added"   # what the loop waits for
---| "active"  # callbacks that are due
---| "virtual" # what keeps the loop alive without an event

--- What a back end can do, joined by "|".
---@alias libevent.features
---| string
---| "et"          # edge-triggered events
---| "o1"          # its cost does not grow with the number of events
---| "fds"         # any descriptor, files on disk too
---| "early_close" # "closed" events

--- The two ends of a buffer, joined by "|".
---@alias libevent.ends
---| string
---| "start" # where bytes are taken from
---| "end"   # where bytes are added

--- Where a line ends.
---@alias libevent.eol
---| "crlf"        # "\n", or "\r\n"
---| "crlf_strict" # "\r\n" only
---| "lf"          # "\n" only
---| "nul"         # the byte 0
---| "any"         # any run of "\r" and "\n"

--- `what` is one of
--- * "connected";
--- * "eof" or "timeout": `detail` is "reading" or "writing";
--- * "error": `detail` is the message, `err` the errno. Of TLS it is EPROTO,
---   with OpenSSL's words; ECONNRESET if the connection was cut: only a peer
---   that says so has come to an "eof".
---@alias libevent.eventcb
---| fun(b: libevent.Bufferevent, what: string, detail?: string, err?: integer)

--- The families of addresses: "inet" is IPv4, "inet6" IPv6; both if nil.
---@alias libevent.families
---| string
---| "inet"
---| "inet6"

--- Why a look-up has found nothing.
---@alias libevent.dnscode
---| "notexist"     # there is no such name
---| "nodata"       # the name exists, but not with such an address
---| "refused"      # the server does not answer that
---| "serverfailed" # the server has failed, or one that it asks
---| "timeout"      # no server has answered, or the deadline has come
---| "truncated"    # the answer is longer than 512 bytes
---| "format"       # the server has not understood the question
---| "notimpl"      # the server knows no such questions
---| "unknown"      # the answer makes no sense
---| "cancel"       # `request:cancel` was called
---| "shutdown"     # the Dns was closed
---| "invalid"      # no name can be so long, or have such parts
---| "noserver"     # there is no name server, or no descriptor to ask it with
---| "nomemory"     # a lack of memory

--- `addresses` are at most 32 of a family, IPv4 first; `ttl` are the seconds
--- that they hold for, nil if no server was asked. Or it is nil, a message and
--- a code.
---@alias libevent.resolvecb fun(request: libevent.DnsRequest,
--- addresses: string[]|nil, ttl: integer|string|nil, code: libevent.dnscode?)

--- The same with a name.
---@alias libevent.reversecb fun(request: libevent.DnsRequest,
--- name: string|nil, ttl: integer|string|nil, code: libevent.dnscode?)

--- An option of `base:dns` that is a number or a boolean.
---@alias libevent.dnsoption
---| "timeout" | "attempts" | "max_inflight" | "randomize_case"
---| "so_rcvbuf" | "so_sndbuf" | "ndots" | "skew" | "deadline"

--- What is asked for, or told of: a word, or the number of any other type.
---@alias libevent.dnstype
---| "A" | "NS" | "CNAME" | "SOA" | "PTR" | "MX" | "TXT" | "AAAA" | "SRV"
---| "CAA" | "AXFR" | "ANY"
---| integer

--- What a question is answered with, or a number from 0 to 15.
---@alias libevent.dnserror
---| "none"         # nothing is wrong
---| "format"       # the question is not understood
---| "serverfailed" # the server has failed
---| "notexist"     # there is no such name
---| "notimpl"      # no such questions are known here
---| "refused"      # this is not answered, or not to everybody
---| integer

--- What an answer says of who gives it, joined by "|".
---@alias libevent.dnsflags
---| string
---| "aa" # he is the authority for the name
---| "ra" # he asks others for his clients; libevent calls it EVDNS_FLAGS_RD

--- The methods of HTTP, joined by "|". Others are not known.
---@alias libevent.httpmethods
---| string
---| "GET" | "POST" | "HEAD" | "PUT" | "DELETE" | "OPTIONS" | "PATCH" # usual
---| "TRACE" | "CONNECT" | "PROPFIND" | "PROPPATCH" | "MKCOL" | "LOCK"
---| "UNLOCK" | "COPY" | "MOVE"

---@alias libevent.httpdonecb fun(req: libevent.HttpRequest|nil,
--- message: string?, errno: integer?)
---@alias libevent.httpclosecb fun(req: libevent.HttpRequest,
--- what: "eof"|"timeout"|"error", message: string?, errno: integer?)

--- Pairs of a name and a value, in their order, from 1 on; and the first value
--- of each name under the name: `list[1][2]`, `list.host`.
---@alias libevent.httplist table<integer|string, string[]|string>

--- Header fields to be sent. By their names, `{["Set-Cookie"] = {"a=1", "b=2"},
--- Age = 7}`, in any order; or pairs in this order, `{{"Age", 7}}`.
---
--- Raises for a name that is no token of HTTP, a value with control characters
--- (a line feed would begin a field of its own), a Transfer-Encoding, and a
--- Connection other than "close", "keep-alive" or "upgrade"; then none of them
--- is added.
---@alias libevent.httpheaders
---| table<string, string|number|(string|number)[]>
---| (string|number)[][]

--- A Buffer is moved, a file sent by the system: see `buffer:add_file`. A Lua
--- file is sent from its start to its end.
---@alias libevent.httpbody libevent.data|libevent.FileSegment|file*

---@class libevent.BaseOptions
--- The back end to use, a name from `libevent.methods`. Default: the best.
---@field method? string
--- Back ends not to use, one name or a list.
---@field avoid? string|string[]
--- What the back end must be able to do.
---@field features? libevent.features
--- Joined by "|": "precise_timer": timers are not late by up to a tick of the
--- kernel's clock (4 ms), for one system call more a turn. "no_cache_time":
--- read the clock for each use. "epoll_use_changelist": fewer system calls
--- when events change often; unsafe for descriptors made by dup. "ignore_env":
--- do not heed variables like EVENT_NOEPOLL. "nolock": always so.
---@field flags? string
--- The number of priorities, 1 to 255. Default: 1.
---@field priorities? integer
--- Look for new events at the latest after callbacks took this long...
---@field max_interval? libevent.seconds
--- ...or after this many of them. Default: 1000, so that an event that makes
--- itself active again does not keep all others waiting.
---@field max_callbacks? integer
--- The two limits hold from this priority on, 0 to 255. Default: 0, for all.
---@field min_priority? integer

---@class libevent.BuffereventOptions
--- Joined by "|": "defer_callbacks": always so, callbacks come from the loop,
--- never inside a call of the script's. "close_on_free": a number is always the
--- bufferevent's to close; raises with an object, which closes its own.
---@field flags? string
--- TLS begins with the descriptor, or when it is connected, as a client or a
--- server as the context says. "connected" is told when the handshake is done;
--- what is written before is sent after it. `bev:starttls` begins later.
---@field tls? libevent.tls.Context
--- Whom a client wants to speak with: a name or an IP address of 1 to 255
--- bytes, which the server is told and its certificate must have. Default: the
--- host of `connect_hostname`, or the address of `connect`; for a descriptor
--- and for "unix:" there is none. false: any name will do.
---@field hostname? string|false

---@class libevent.ListenerOptions
--- Joined by "|". "reuseable", always so: bind at once after a restart, and in
--- place of a dead unix socket. "reuseable_port": several sockets share the
--- port. "bind_ipv6only":
--- not for IPv4 too. "deferred_accept": tell of a connection when it has sent
--- something. "disabled": accept nothing before `enable`.
--- "close_on_free" and "close_on_exec": always so. "leave_sockets_blocking",
--- "threadsafe": no effect, a Bufferevent neither blocks nor leaves its thread.
---@field flags? string
--- Connections that wait to be accepted, from 1. Default: SOMAXCONN.
---@field backlog? integer
--- A server's: each connection begins with TLS. It is handed out when it is
--- accepted; its `event` callback gets "connected" when the handshake is done.
---@field tls? libevent.tls.Context

--- Where an address of a name server is asked for it is "127.0.0.1", "::1", or
--- with a port that is not 53, "127.0.0.1:5353", "[::1]:5353".
---@class libevent.DnsOptions
--- Who is asked: the first one, and when it does not answer, fails or refuses,
--- the next. No resolv.conf is read then, unless `resolv_conf` names it.
---@field nameservers? string[]
--- The file that says who is asked and what `search`, `ndots`, `timeout` and
--- `attempts` are, but for what is given here. Read again when it has changed
--- and nobody is being asked. Default: "/etc/resolv.conf"; if that cannot be
--- read, 127.0.0.1 is asked. false: none.
---@field resolv_conf? string|false
--- The file of names that no server is asked for, read again when it has
--- changed. Default: "/etc/hosts". false: none. "localhost", and what ends in
--- ".localhost", is this machine in any case.
---@field hosts? string|false
--- The domains that a name may be in. Default: those of resolv.conf, or if it
--- has none the domain of this machine's own name; none if it is not read.
---@field search? string[]
--- The address of this machine that servers are asked from. Not for a server
--- on this machine itself.
---@field bind_to? string
--- A name with so many dots is tried as it is before it is tried in the domains
--- of `search`, 0 to 255. Default: 1.
---@field ndots? integer
--- Seconds from 0.001 on that a server has to answer in one try. Default: 5.
---@field timeout? libevent.seconds
--- Tries of a question that is not answered, 1 to 255. Default: 3. Each one is
--- for the next server, which from then on is the first.
---@field attempts? integer
--- Questions that are on their way at a time, 1 to 65000; more of them wait.
--- Default: 64.
---@field max_inflight? integer
--- Ask for "wWw.EXample", and believe nobody who answers in other letters: an
--- answer is harder to forge. Default: true. Some servers cannot do it.
---@field randomize_case? boolean
--- The bytes of the sockets' buffers. Default: the system's.
---@field so_rcvbuf? integer
---@field so_sndbuf? integer
--- Seconds that the addresses of one family wait for those of the other.
--- Default: 3.
---@field skew? libevent.seconds
--- Seconds from 0.001 on that a look-up may take, with all its tries and
--- domains. Default: 30.
---@field deadline? libevent.seconds

---@class libevent.ResolveOptions
--- What is looked up.
---@field family? libevent.families
--- 0 to 65535: the addresses come with this port, "127.0.0.1:80", "[::1]:80",
--- as `connect` takes them.
---@field port? integer
--- Seconds for all of it. Default: the Dns'.
---@field deadline? libevent.seconds
--- false: the name is tried as it is, in no domain, as one that ends in a dot.
---@field search? boolean

---@class libevent.ReverseOptions
--- Seconds for all of it. Default: the Dns'.
---@field deadline? libevent.seconds

---@class libevent.HostnameOptions
--- Who is asked. Default: the base has a Dns of its own from the first use on,
--- as `base:dns()` makes it.
---@field dns? libevent.Dns
--- What is looked up and tried.
---@field family? libevent.families
--- Seconds for all of it, names and attempts. Default: 60.
---@field timeout? libevent.seconds
--- Seconds between an attempt and the next one. Default: 0.25.
---@field delay? libevent.seconds

--- At least one of `read` and `write`; the other direction has no limit.
---@class libevent.Limits
--- Bytes a second, 1 to 2147483647.
---@field read? integer
---@field write? integer
--- The most bytes that can be saved up while nothing moves, from the bytes of a
--- tick to 2147483647. Small ones lose what a tick that comes late would hand
--- out. 0.2 seconds' worth if nil, or two ticks'.
---@field read_burst? integer
---@field write_burst? integer
--- Seconds, 0.001 to 1, to the millisecond: how often the bytes of that time
--- are handed out; 0.1 if nil. Those are whole bytes: where that would make a
--- rate more than 1 % too low, the tick is longer.
---@field tick? number

--- Seconds, more than 0; false: for ever.
---@class libevent.HttpTimeouts
--- To the end of a request's head, from its first byte on; for the first one
--- from the beginning of the connection. Then it is answered 408, or closed if
--- nothing has come. Default: 30.
---@field header_timeout? libevent.seconds|false
--- Between two pieces of a body, while the script wants it; then 408.
--- Default: 30.
---@field body_timeout? libevent.seconds|false
--- Between two requests; then the connection is closed. Default: 60.
---@field idle_timeout? libevent.seconds|false
--- For a client that takes nothing of what there is to send; then the
--- connection is closed. Default: 30.
---@field write_timeout? libevent.seconds|false

--- false, where a number can be given: no limit.
---@class libevent.HttpOptions: libevent.HttpTimeouts
--- Bytes of the request line, from 1; a longer one is answered 414. Default:
--- 8192.
---@field max_line_size? integer|false
--- Bytes of all header fields, from 1; more are answered 431. Default: 16384.
---@field max_headers_size? integer|false
--- Header fields, from 1; more are answered 431. Default: 100.
---@field max_headers? integer|false
--- Bytes of a body; a longer one is answered 413. Default: 1048576. Not for
--- bodies that are streamed, which have no limit but that of their path.
---@field max_body_size? integer|false
--- Connections at a time, from 1; more wait in the kernel's queue until one
--- ends. Default: false, as many as there are descriptors.
---@field max_connections? integer|false
--- Another method that is known is answered 405, any other one 501. Default:
--- "GET|POST|HEAD|PUT|DELETE|OPTIONS|PATCH".
---@field allowed_methods? libevent.httpmethods
--- Of answers with a body and without a type. Default: "text/html;
--- charset=utf-8". false: none.
---@field default_content_type? string|false
--- A server's: all that it listens on speaks TLS, unless `bind_socket` has a
--- context of its own. A server of both kinds has it there, for the one.
---@field tls? libevent.tls.Context

---@class libevent.HttpPathOptions
--- true: the callback is called when the head of a request is there, and its
--- body goes to the script piece by piece: see `req:set_chunked_cb`.
---@field stream? boolean
--- Bytes of a body, from 0; a longer one is answered 413. Default: the
--- server's, or none if it is streamed. false: none.
---@field max_body_size? integer|false

--- Times are seconds, more than 0; false is none, no limit.
---@class libevent.HttpConnectionOptions
--- Who is asked for the host's addresses. Default: the base's own, as for
--- `connect_hostname`.
---@field dns? libevent.Dns
--- The family of the addresses to try.
---@field family? libevent.families
--- For a connection, with its name looked up and all addresses that are tried.
--- Default: 45.
---@field connect_timeout? libevent.seconds|false
--- In which nothing comes of an answer, when the request has been sent.
--- Default: 50.
---@field read_timeout? libevent.seconds|false
--- In which nothing of a request can be sent. Default: 50.
---@field write_timeout? libevent.seconds|false
--- A connection that has had nothing to do for longer is not used again.
--- Default: 60.
---@field idle_timeout? libevent.seconds|false
--- Bytes of the head of an answer, from 1. Default: 65536. Its fields are 256
--- at the most.
---@field max_headers_size? integer|false
--- Bytes of a body that is collected, from 0. Default: 16 MiB. false: no limit,
--- as for one that is streamed.
---@field max_body_size? integer|false
--- A client's: HTTPS. The handshake is a part of connecting.
---@field tls? libevent.tls.Context
--- As for `base:bufferevent`. Default: the host; "unix:" has none.
---@field hostname? string|false

--- How a client asks, and how it is answered.
---@class libevent.HttpRequestOptions
--- Host is added, and how long the body is. With a Content-Length that stands
--- here a streamed body is sent as it is, not in chunks.
---@field headers? libevent.httpheaders
--- Sent with the head. A Buffer is moved when its turn comes.
---@field body? libevent.data
--- In place of `body`. Called when the head has been sent: from then on
--- `req:send_chunk` and `req:send_end` send the body.
---@field stream? fun(req: libevent.HttpRequest)
--- Called when the head of the answer is there.
---@field header_cb? fun(req: libevent.HttpRequest)
--- Called with each piece of the answer's body as it comes, and with nil at its
--- end, before the callback of the request. No body is collected then.
---@field chunked_cb? fun(req: libevent.HttpRequest, data: string|nil)

--- What is wrong raises: a file that cannot be read, a key that does not go
--- with its certificate, an unknown cipher. So what is there works, and no
--- mistake leaves a connection in the clear.
---
--- PEM is a file's name, or the text itself; files are read at once, and again
--- by `reload`.
---@class libevent.tls.Options
--- Which end it is. Default: "client".
---@field role? "client"|"server"
--- PEM: its own certificate, and then those between it and an authority. A
--- server must have one, a client may.
---@field certificate? string
--- PEM. Default: in the certificate's file.
---@field key? string
--- Of an encrypted key; a function is called at once, and again by `reload`.
---@field password? string|fun(): string
--- By whom the peer's certificate must be signed: "system", whom OpenSSL trusts
--- on this machine; a file or PEM; a folder, as `openssl rehash` makes it; or a
--- list of these. Default: "system", for clients. To a client of a server the
--- names of these are told.
---@field trust? string|string[]
--- Must the peer have a certificate that holds? For clients true, the default,
--- or false: then anybody can be at the other end, and read all. For servers
--- "required" or true; "optional": one that is shown must hold; or false, the
--- default: none is asked for. `trust` must be given then.
---@field verify? boolean|"optional"|"required"
--- The oldest version. Default: "1.2". OpenSSL has the old two only with
--- `ciphers` such as "DEFAULT:@SECLEVEL=0".
---@field min_version? "1.0"|"1.1"|"1.2"|"1.3"
--- The newest one. Default: the newest there is.
---@field max_version? "1.0"|"1.1"|"1.2"|"1.3"
--- Of TLS up to 1.2, in OpenSSL's words. Default: those with forward secrecy
--- that encrypt and authenticate in one, "ECDHE+AESGCM:ECDHE+CHACHA20".
---@field ciphers? string
--- Of TLS 1.3. Default: OpenSSL's.
---@field ciphersuites? string
--- For the exchange of keys, the best first. Default:
--- "X25519:P-256:P-384:P-521", before them X25519MLKEM768 if OpenSSL has it.
---@field groups? string
--- Protocols above TLS, names of 1 to 255 bytes, the best first. A server takes
--- the first of its own that the client has, and refuses one that has none of
--- them; one that says nothing of it is welcome, and so is such a server.
---@field alpn? string[]
--- true: without a common one the handshake fails.
---@field alpn_required? boolean
--- A server's: contexts for the names that clients ask for (SNI),
--- "a.example", or "*.b.example" for all with one label more. Of them only the
--- certificate counts; who asks for another name, or none, gets this one's.
---@field names? table<string, libevent.tls.Context>
--- A server gives tickets, by which a client begins again faster, and a client
--- keeps them, 256 at the most. Default: true.
---@field resume? boolean
--- A file to which the secrets of all connections are appended, as Wireshark
--- and SSLKEYLOGFILE have them. For debugging: who reads it reads all.
---@field keylog? string
--- Seconds for a handshake, more than 0; then "timeout". Default: 30. false:
--- none.
---@field handshake_timeout? libevent.seconds|false
--- A context of luaossl's, which is used as it is; beside it only `role` and
--- `handshake_timeout` may be given.
---@field ssl_ctx? userdata

--- A certificate, of which the peer has shown that it has the key.
---@class libevent.tls.Peer
--- As RFC 4514 has it: "CN=alice,O=Example".
---@field subject string
---@field issuer string
--- The names of hosts and IP addresses that it is for.
---@field names string[]
--- Seconds since 1970, as `os.time` has them.
---@field not_before integer
---@field not_after integer
--- In hexadecimal digits.
---@field serial string
--- SHA-256 of all of it, in hexadecimal digits.
---@field fingerprint string
---@field pem string

--- What a handshake has come to.
---@class libevent.tls.Session
--- "TLSv1.3"
---@field version string
--- "TLS_AES_256_GCM_SHA384"
---@field cipher string
--- The protocol above it, nil without one.
---@field alpn? string
--- It goes on from an earlier session, without a certificate sent.
---@field resumed boolean
--- The name that the client has asked for, nil if none.
---@field hostname? string
--- The peer has shown a certificate, it was to be verified, and it holds.
---@field verified boolean
--- In which way it does not, where that is no reason to refuse it.
---@field verify_error? string
--- nil if it has shown none.
---@field peer? libevent.tls.Peer

--- An event as it was when `foreach_event` was called.
---@class libevent.EventInfo
--- Whose it is: an Event, a Bufferevent, a Listener, a DnsRequest...; the Base,
--- for the timer of `loopexit`; nil for what is no object here: an event of the
--- host's, or one that libevent asks a name server with.
---@field object? libevent.object|libevent.Base
--- The descriptor that is watched, if it is one...
---@field fd? integer
--- ...or the number of the signal.
---@field signal? integer
--- What it is made of, as `event:events` tells; "" for a timer that no script
--- made.
---@field events string
--- What it waits for; "" if it is active alone.
---@field pending string
--- What its callback is due for, nil if it is not due.
---@field active? libevent.what
--- What is left of its timeout, nil without one.
---@field timeout? number
---@field priority integer

--- The names of the back ends that libevent was built with, the best first.
---
--- C: `event_get_supported_methods`
---@return string[] names
function libevent.methods() end

--- The version of libevent itself: "2.1.12-stable", and 0x02010c00 for it.
---
--- C: `event_get_version`, `event_get_version_number`
---@return string version
---@return integer number
function libevent.version() end

--- Sets a function that is told what libevent has to say: warnings, as a rule,
--- and rarely; and as "msg" that a name server has failed, or is back.
--- `severity` is "warn", "msg" or "debug". Without a function it is printed to
--- standard error, as "[warn] ...", but for "msg".
---
--- libevent speaks where no Lua can be called. What it says is kept, and told
--- by the loops of this state: after each callback, when a loop begins and when
--- it ends. Of more than 32 messages at a time the last are lost, and a "warn"
--- tells how many; a message is cut at 255 bytes. What no loop has told is
--- printed when the function is taken away, the state is closed or the process
--- exits. "err" is printed at once: libevent ends the process after it.
---
--- An error in `f` is treated as one of a callback of the base whose loop it
--- is; `base:set_error_cb` gets it without an object.
---
--- Each thread has messages of its own, which are printed where no state has
--- a function; of several states on one thread the first that runs a callback
--- tells them. libevent has one place for such a function in a process: the
--- first call takes it, or the first Dns on a base that is no host's, even from
--- a host program that had set its own.
---
--- C: `event_set_log_callback`
---@param f? fun(severity: string, message: string)
---@return true done
function libevent.set_log_callback(f) end

--- Makes a base: a loop and the objects on it. nil if no back end has all the
--- features that the options ask for, or no descriptor is left.
---
--- C: `event_base_new_with_config`
---@param options? libevent.BaseOptions
---@return libevent.Base|nil base
---@return string? message
---@return integer? errno
function libevent.base(options) end

--- Makes a buffer, with data in it or empty.
---
--- C: `evbuffer_new`
---@param data? libevent.data
---@return libevent.Buffer buffer
function libevent.buffer(data) end

--- Makes two sockets that are connected to each other, both non-blocking and
--- close-on-exec: `base:bufferevent(fd)` takes one, another process or another
--- part of the script the other. They are numbers, to be given to an object
--- or to `closesocket`.
---
--- C: `evutil_socketpair`
---@param type? "stream"|"dgram"|"seqpacket" "stream" if nil
---@return integer|nil fd
---@return integer|string fd2 the second descriptor, or the message
---@return integer? errno
function libevent.socketpair(type) end

--- Reading from the descriptor and writing to it wait no more: they fail where
--- they would have to. That belongs to the open file, not to the number: who
--- shares a terminal's, like the shell, sees it too. `base:bufferevent` and
--- `base:listener` do it themselves.
---
--- C: `evutil_make_socket_nonblocking`
---@param fd libevent.descriptor
---@return true|nil done
---@return string? message
---@return integer? errno
function libevent.make_socket_nonblocking(fd) end

--- Programs that this process starts do not get the descriptor.
---
--- C: `evutil_make_socket_closeonexec`
---@param fd libevent.descriptor
---@return true|nil done
---@return string? message
---@return integer? errno
function libevent.make_socket_closeonexec(fd) end

--- Closes a descriptor that is a number and belongs to no object: one of
--- `socketpair`, or of `bev:detach`. Raises if it is not open. That an object
--- still uses it, or an event watches it, is not noticed: close that instead.
--- The number is free even after an error.
---
--- C: `evutil_closesocket`
---@param fd integer
---@return true|nil done
---@return string? message
---@return integer? errno
function libevent.closesocket(fd) end

--- A date as HTTP writes it: "Thu, 01 Jan 1970 00:00:00 GMT".
---
--- C: `evutil_date_rfc1123`
---@param time? number seconds since 1970, years 0 to 9999; now if nil
---@return string date
function libevent.date_rfc1123(time) end

--- Seconds of a clock that never goes back, whoever sets the time of day; they
--- count from no particular moment. It goes on in steps of the kernel's, up to
--- 10 ms on Linux; with "precise" in steps of a microsecond, for a little more
--- time a call. The two may differ by a step: compare a clock with itself.
---
--- C: `evutil_gettime_monotonic`
---@param flags? "precise"
---@return number seconds
function libevent.gettime_monotonic(flags) end

--- The 4 or 16 bytes of an IPv4 or IPv6 address, in the order of the network;
--- nil for any other text: no port, no brackets, no short forms ("127.1").
--- Stricter than libevent, which takes "0x1::" and "1.2.3.4294967300".
---
--- C: `evutil_inet_pton`
---@param address string "127.0.0.1", "::1"
---@return string|nil packed
function libevent.inet_pton(address) end

--- The same for an address that may name its interface, as link-local ones do:
--- "fe80::1%eth0", "fe80::1%2".
---
--- C: `evutil_inet_pton_scope`
---@param address string
---@return string|nil packed
---@return integer? scope the interface's number, 0 for none
function libevent.inet_pton_scope(address) end

--- The text of 4 or 16 bytes of `inet_pton`, in its shortest form.
---
--- C: `evutil_inet_ntop`
---@param packed string
---@return string address
function libevent.inet_ntop(packed) end

--- The addresses of a host, in the order in which to try them, each once:
--- `{"[::1]:80", "127.0.0.1:80"}`. An address is its own host. Asks the
--- system's resolver and waits for it, for seconds if a server does not answer:
--- no callback of this thread runs meanwhile. It is meant for the time before
--- the loop; `dns:resolve` waits for nobody.
---
--- C: `evutil_getaddrinfo`, `evutil_gai_strerror`, `evutil_freeaddrinfo`
---@param host string
---@param port integer|string 0 to 65535, or a service: "http"
---@param family? "inet"|"inet6" IPv4 or IPv6 only; both if nil
---@return string[]|nil addresses
---@return string? message
---@return integer? code the system's EAI_... number
function libevent.getaddrinfo(host, port, family) end

--- Random bytes that nobody can guess: those of the system's arc4random, or of
--- libevent's own where libevent was built without it. nil if there is nothing
--- to start it from.
---
--- C: `evutil_secure_rng_get_bytes`, `evutil_secure_rng_init`
---@param n integer how many, 0 to 2147483647
---@return string|nil bytes
---@return string? message
function libevent.secure_rng_bytes(n) end

--- Joins two bufferevents: what one reads the other writes, without becoming a
--- Lua string, both ways. Their callbacks are the relay's from now on, and it
--- keeps them alive. A direction stops reading while 256 KiB of it wait to be
--- sent; set timeouts against a peer that never takes them. The end of the data
--- is passed on, and the other direction goes on until it ends too; an error or
--- a timeout ends both. Then both are closed, what is still to be sent is sent,
--- and `done` is told what ended the relay.
---
--- C: none
---@param a libevent.Bufferevent
---@param b libevent.Bufferevent
---@param done? libevent.relaycb
---@return libevent.Bufferevent a
---@return libevent.Bufferevent b
function libevent.relay(a, b, done) end

--- A part of a file that is added to buffers, with a descriptor of its own. For
--- `file`, `offset` and `length` see `buffer:add_file`. nil if no descriptor is
--- left.
---
--- C: `evbuffer_file_segment_new`
---@param file libevent.descriptor
---@param offset? integer from 0, which is the default
---@param length? integer up to the end of the file if nil
---@return libevent.FileSegment|nil segment
---@return string? message
---@return integer? errno
function libevent.file_segment(file, offset, length) end

--- The loop. It runs while an event is pending: a timer, an event that was
--- added, an open waker, an enabled listener, a bufferevent that reads or has
--- output to send, a name that is looked up, an open DNS server, a connection
--- to an HTTP server here, an HTTP request of a client's here.
---
--- In a process made by fork the base shares its back end with the parent. The
--- first method called on it or on an object of it gives it one of its own, so
--- that nothing here touches what the parent waits for.
---@class libevent.Base
local Base = {}

--- Runs the loop until no event is pending: false; or until it is told to
--- stop: true.
--- Raises the error of a callback, and if the loop of this base runs already.
---
--- C: `event_base_dispatch`
---@return boolean|nil stopped
---@return string? message
---@return integer? errno
function Base:dispatch() end

--- Runs the loop in the way of `flags`: one turn of it with "once" or
--- "nonblock". Returns false if it found no event pending, otherwise true.
--- Raises as `dispatch` does.
---
--- C: `event_base_loop`
---@param flags? libevent.loopflags until no event is pending, if nil
---@return boolean|nil stopped
---@return string? message
---@return integer? errno
function Base:loop(flags) end

--- Ends the loop when the callbacks that are due have run, or after some
--- seconds: of several such times the earliest counts, and none outlives the
--- loop. Called before a loop, it ends that one. The wait for the seconds is
--- itself something the loop runs for.
---
--- C: `event_base_loopexit`
---@param seconds? libevent.seconds at once if nil
---@return libevent.Base base
function Base:loopexit(seconds) end

--- Ends the loop when the callback that runs has returned; others that are due
--- wait for the next loop. Called before a loop it is lost: that is a case for
--- `loopexit`.
---
--- C: `event_base_loopbreak`
---@return libevent.Base base
function Base:loopbreak() end

--- Looks for new events when the callback that runs has returned, before
--- others that are due: a more urgent one may have come.
---
--- C: `event_base_loopcontinue`
---@return libevent.Base base
function Base:loopcontinue() end

--- Whether `loopexit` ended the loop, this one or the last.
---
--- C: `event_base_got_exit`
---@return boolean exit
function Base:got_exit() end

--- Whether `loopbreak`, or an error in a callback, ended the loop, this one or
--- the last.
---
--- C: `event_base_got_break`
---@return boolean broken
function Base:got_break() end

--- Sets a function that takes the errors of callbacks, and the object whose
--- callback it was (nil for that of `set_log_callback`); the loop then goes on.
--- A string comes with its traceback, any other error object as it is. An error
--- in this function itself ends the loop. nil: errors end the loop again, and
--- `dispatch` raises them.
---
--- C: none
---@param f? fun(err: any, object?: libevent.object)
---@return libevent.Base base
function Base:set_error_cb(f) end

--- Gives the base a back end of its own, in a process made by fork. Every
--- other method does so too, and so does the way back from a callback to the
--- loop; only this one tells of a failure.
---
--- C: `event_reinit`
---@return libevent.Base|nil base
---@return string? message
---@return integer? errno
function Base:reinit() end

--- The name of the back end: "epoll".
---
--- C: `event_base_get_method`
---@return string name
function Base:method() end

--- What the back end can do: "et|o1|early_close".
---
--- C: `event_base_get_features`
---@return libevent.features words
function Base:features() end

--- The number of priorities.
---
--- C: `event_base_get_npriorities`
---@return integer count
function Base:npriorities() end

--- How many events there are now. Of "added" an event is one for what it waits
--- for, one more for its timeout and one more while its callback is due.
---
--- C: `event_base_get_num_events`
---@param kinds? libevent.counts "added" if nil
---@return integer count
function Base:num_events(kinds) end

--- The most that `num_events` has been.
---
--- C: `event_base_get_max_events`
---@param kinds? libevent.counts "added" if nil
---@param clear? boolean true: count anew from 0
---@return integer count
function Base:max_events(kinds, clear) end

--- Seconds since 1970. In the loop it is a time that was read when the turn
--- began or after the last callback, and costs no system call.
---
--- C: `event_base_gettimeofday_cached`
---@return number seconds
function Base:gettimeofday_cached() end

--- Reads the time of the loop anew, in the middle of a slow callback.
---
--- C: `event_base_update_cache_time`
---@return libevent.Base base
function Base:update_cache_time() end

--- Seconds of a clock that nobody sets, from an arbitrary beginning: good for
--- differences. It is read at each call, and moves in steps of up to 4 ms
--- unless the base has the flag "precise_timer".
---
--- C: `event_gettime_monotonic`
---@return number seconds
function Base:gettime_monotonic() end

--- Gives timeouts of exactly this duration a queue of their own: those of
--- events and of bufferevents of this base, whatever their number, from the
--- next `add` on. They end as before; of those that are equal, in the order in
--- which they were added. Any other timeout costs the more the more there are:
--- worth it for thousands that last equally long. A second call for the same
--- duration changes nothing.
---
--- nil if there are 256 of them already (ENOSPC).
--- Raises for 0.
---
--- C: `event_base_init_common_timeout`
---@param seconds libevent.seconds
---@return libevent.Base|nil base
---@return string? message
---@return integer? errno
function Base:init_common_timeout(seconds) end

--- Has the loop call back all who wait for `what` on the descriptor, as if it
--- had happened: events, and bufferevents and listeners, which then find
--- nothing to read or no room to write, and wait on. "timeout" ends each
--- timeout of theirs. Nothing happens if nobody waits.
---
--- Not "write" for a bufferevent that connects: it would take that for its
--- connection, and fail later.
---
--- C: `event_base_active_by_fd`
---@param fd libevent.descriptor
---@param what string of "read", "write", "closed", "timeout", joined by "|"
---@return libevent.Base base
function Base:active_by_fd(fd, what) end

--- Has the loop call all events of this base for the signal, as if it had come
--- once. Nothing happens if there is none.
---
--- C: `event_base_active_by_signal`
---@param signal libevent.signal
---@return libevent.Base base
function Base:active_by_signal(signal) end

--- Calls f(info) for each event that waits or is due, until f returns something
--- other than nil or false, which is then returned. A bufferevent has an event
--- for each direction in which it waits. The events are those of the moment of
--- the call; f may change any of them. Callbacks of bufferevents that are due
--- are not events.
---
--- C: `event_base_foreach_event`
---@param f fun(info: libevent.EventInfo): any
---@return any value
function Base:foreach_event(f) end

--- What keeps the loop running, for people to read: the number of events, and
--- a line for each of them with its object, what it waits for, what is left of
--- its timeout, "active" if its callback is due, and where the first callback
--- of the object was defined. The form may change.
---
--- C: `event_base_dump_events`
---@return string text
function Base:dump_events() end

--- Closes every object on the base, then the base. In its own loop: that ends
--- when the callback has returned.
---
--- C: `event_base_free`
---@return libevent.Base base
function Base:close() end

--- Something to wait for: a descriptor, a time, a signal, or the script's own
--- call of `active`. It is pending from `add` until its callback is called or,
--- with "persist", until `del`.
---@class libevent.Event
local Event = {}

--- Makes an event on a descriptor; `add` starts it. `what` has at least one of
--- "read", "write", "closed". Reading and writing are the script's: a
--- descriptor that blocks then stops the loop.
---
--- Delete the event before its descriptor is closed: libevent would take a new
--- descriptor of the same number for the old one, and never tell of it. Do not
--- mix events with and without "et" on one descriptor. With "et", read until
--- there is no more.
--- Raises for "et" or "closed" if the back end does not know it.
---
--- C: `event_new`
---@param fd libevent.descriptor
---@param what libevent.events
---@param cb fun(event: libevent.Event, what: libevent.what)
---@return libevent.Event event
function Base:event(fd, what, cb) end

--- Makes a timer; `add` starts it. With "persist" it fires again and again,
--- each time counted from when it was due, so that it does not drift; times
--- that were missed are left out.
---
--- C: `evtimer_new`
---@param cb fun(event: libevent.Event, what: libevent.what)
---@param what? "persist" once if nil
---@return libevent.Event event
function Base:timer(cb, what) end

--- Makes an event for a signal; `add` starts it, and it stays pending until
--- `del`, or until its timeout if it has one. The callback is called in the
--- loop, once for each time the signal came. Signals are for one base of the
--- process at a time.
---
--- C: `evsignal_new`
---@param signal libevent.signal
---@param cb fun(event: libevent.Event, what: libevent.what)
---@return libevent.Event event
function Base:signal(signal, cb) end

--- Makes an event that waits for nothing: `active` calls it.
---
--- C: `event_new`
---@param cb fun(event: libevent.Event, what: libevent.what)
---@return libevent.Event event
function Base:user(cb) end

--- Makes an event and adds it; the callback is called once. A timer has nil
--- for a descriptor, "timeout" for `what`, and must have seconds.
--- Raises for "persist", and as `event` does.
---
--- C: `event_base_once`
---@param fd libevent.descriptor|nil
---@param what libevent.events
---@param cb fun(event: libevent.Event, what: libevent.what)
---@param seconds? libevent.seconds no timeout if nil
---@return libevent.Event|nil event
---@return string? message
---@return integer? errno
function Base:once(fd, what, cb, seconds) end

--- Makes the event pending, with a timeout if seconds are given. Added again,
--- it gets the new timeout; without one it keeps what it had. A timeout of a
--- "persist" event begins anew after each callback, that of a signal does not.
---
--- nil for a file on disk, which epoll cannot watch (EPERM), for a signal while
--- another base has signals (EBUSY), and for the 65536th event that waits for
--- the same of one descriptor (EOVERFLOW).
--- Raises for a timer without seconds.
---
--- C: `event_add`
---@param seconds? libevent.seconds no timeout, or the present one, if nil
---@return libevent.Event|nil event
---@return string? message
---@return integer? errno
function Event:add(seconds) end

--- Stops the event and its timeout. A callback that is due is not called.
---
--- C: `event_del`
---@return libevent.Event event
function Event:del() end

--- Takes the timeout from the event, which otherwise stays as it is.
---
--- C: `event_remove_timer`
---@return libevent.Event event
function Event:remove_timer() end

--- Has the loop call the callback as if `what` had happened, be the event
--- pending or not. One that is due already gets the words in addition. Without
--- "persist" the event is then no longer pending.
---
--- C: `event_active`
---@param what? libevent.what no word if nil
---@return libevent.Event event
function Event:active(what) end

--- What the event waits for or is due for, of the words asked about; with its
--- timeout, also the seconds left. nil for nothing, and for an event that was
--- made active without a word.
---
--- C: `event_pending`
---@param what? libevent.what all words if nil
---@return libevent.what|nil words
---@return number? seconds
function Event:pending(what) end

--- Sets the priority, from 0, the most urgent, to `base:npriorities() - 1`;
--- at first it is in the middle. While an event is due, all of higher numbers
--- wait. nil if the event is due (EBUSY).
---
--- C: `event_priority_set`
---@param priority integer
---@return libevent.Event|nil event
---@return string? message
---@return integer? errno
function Event:priority_set(priority) end

--- The priority.
---
--- C: `event_get_priority`
---@return integer priority
function Event:priority() end

--- The descriptor; nil for any other event.
---
--- C: `event_get_fd`
---@return integer|nil fd
function Event:fd() end

--- The number of the signal; nil for any other event.
---
--- C: `event_get_signal`
---@return integer|nil signal
function Event:signal() end

--- The words that the event was made of: "read|persist", "timeout".
---
--- C: `event_get_events`
---@return string words
function Event:events() end

--- The callback.
---
--- C: `event_get_callback`
---@return fun(event: libevent.Event, what: libevent.what) cb
function Event:callback() end

--- Sets another callback, at any time.
---
--- C: none
---@param cb fun(event: libevent.Event, what: libevent.what)
---@return libevent.Event event
function Event:set_callback(cb) end

--- The base that the event is on.
---
--- C: `event_get_base`
---@return libevent.Base base
function Event:base() end

--- Ends the event. Its descriptor stays open.
---
--- C: `event_free`
---@return libevent.Event event
function Event:close() end

--- What wakes the loop from outside: from another thread of a host program, or
--- from a signal handler of its own, by lualibevent_wake (see lualibevent.h).
--- They may call at any time: a waker stays alive by itself, and keeps the loop
--- running, until it is closed.
---@class libevent.Waker
local Waker = {}

--- Makes a waker. The callback is called in the loop, once for all wakes that
--- came before it; a wake during the callback is another call.
---
--- In a process made by fork the waker is one of its own; a wake from before
--- is the parent's alone. nil if no descriptor is left.
---
--- C: none
---@param cb fun(waker: libevent.Waker)
---@return libevent.Waker|nil waker
---@return string? message
---@return integer? errno
function Base:waker(cb) end

--- Has the loop call the callback. On this state's thread alone: others have
--- lualibevent_wake.
---
--- C: none
---@return libevent.Waker waker
function Waker:wake() end

--- The callback.
---
--- C: none
---@return fun(waker: libevent.Waker) cb
function Waker:callback() end

--- Sets another callback, at any time.
---
--- C: none
---@param cb fun(waker: libevent.Waker)
---@return libevent.Waker waker
function Waker:set_callback(cb) end

--- The base that the waker is on.
---
--- C: none
---@return libevent.Base base
function Waker:base() end

--- Ends the waker. The callback is not called any more, also not for a wake
--- that is due; a later one of another thread does nothing.
---
--- C: none
---@return libevent.Waker waker
function Waker:close() end

--- Bytes on their way: added at the end, taken from the start, moved from one
--- buffer to another without a copy. `#buffer` is its length,
--- `tostring(buffer)` a copy of its bytes. Positions count from 1.
---
--- The `input` and `output` of a bufferevent are Buffers too, and closed with
--- it. Nothing can be added to the end of an input, nothing taken from or put
--- before the start of an output: that raises, as on any end that is frozen.
---@class libevent.Buffer
---@operator len: integer
local Buffer = {}

--- Adds data to the end. Nothing is added if one argument is wrong.
---
--- C: `evbuffer_add`, `evbuffer_add_reference`, `evbuffer_add_buffer`
---@param ... libevent.data
---@return libevent.Buffer buffer
function Buffer:add(...) end

--- Puts data before the start.
---
--- C: `evbuffer_prepend`, `evbuffer_prepend_buffer`
---@param data libevent.data
---@return libevent.Buffer buffer
function Buffer:prepend(data) end

--- Takes bytes from the start: as many as there are, up to `n`.
---
--- C: `evbuffer_remove`
---@param n? integer all if nil
---@return string bytes
function Buffer:remove(n) end

--- Takes bytes from the start as `remove` does, and throws them away.
---
--- C: `evbuffer_drain`
---@param n? integer all if nil
---@return libevent.Buffer buffer
function Buffer:drain(n) end

--- A copy of up to `n` bytes, beginning at a position; they stay.
--- Raises for a position more than one past the end.
---
--- C: `evbuffer_copyout_from`
---@param n? integer all if nil
---@param from? integer 1 if nil
---@return string bytes
function Buffer:copyout(n, from) end

--- A copy of the bytes that lie in one piece from a position on; they stay. nil
--- at the end. Raises for a position more than one past the end.
---
--- C: `evbuffer_peek`
---@param from? integer 1 if nil
---@return string|nil bytes
function Buffer:peek(from) end

--- `for piece in buffer:chunks() do` gives copies of all bytes, each time as
--- many as lie in one piece; they stay. The buffer may change meanwhile: each
--- piece begins at the position where the one before it ended.
---
--- C: `evbuffer_peek`
---@return fun(): string|nil iterator
function Buffer:chunks() end

--- Moves all of another buffer to the end of this one, without a copy.
---
--- C: `evbuffer_add_buffer`
---@param source libevent.Buffer
---@return libevent.Buffer buffer
function Buffer:add_buffer(source) end

--- Moves all of another buffer before the start of this one, without a copy.
---
--- C: `evbuffer_prepend_buffer`
---@param source libevent.Buffer
---@return libevent.Buffer buffer
function Buffer:prepend_buffer(source) end

--- Moves up to `n` bytes from the start of this buffer to the end of another.
--- Raises if the two are the same.
---
--- C: `evbuffer_remove_buffer`
---@param to libevent.Buffer
---@param n integer
---@return integer count how many were moved
function Buffer:remove_buffer(to, n) end

--- Adds all of another buffer to the end of this one, without a copy; the bytes
--- stay in the other one too. What is added, taken or moved afterwards is so in
--- one of the two alone.
--- Raises if the two are the same, and if the other one has bytes that were
--- added to it in this way.
---
--- C: `evbuffer_add_buffer_reference`
---@param source libevent.Buffer
---@return libevent.Buffer buffer
function Buffer:add_buffer_reference(source) end

--- The position of the first `what` that begins at `from` or later and ends at
--- `to` or earlier; nil if there is none.
--- Raises for `from` more than one past the end.
---
--- C: `evbuffer_search_range`
---@param what string
---@param from? integer 1 if nil
---@param to? integer the end if nil
---@return integer|nil position
function Buffer:search(what, from, to) end

--- The position of the first end of a line, and its length in bytes; nil if
--- there is none.
--- Raises for `from` more than one past the end.
---
--- C: `evbuffer_search_eol`
---@param style? libevent.eol "crlf" if nil
---@param from? integer 1 if nil
---@return integer|nil position
---@return integer? length
function Buffer:search_eol(style, from) end

--- Takes a line and its end from the start; returns the line alone, or nil if
--- its end has not come yet. A line of more than `max` bytes, ended or not, is
--- nil and "line too long", and stays: close the connection then. Without `max`
--- a peer that never ends its line fills the memory. With "any" a "\r\n" that
--- comes in two pieces can be two ends.
---
--- C: `evbuffer_readln`
---@param style? libevent.eol "crlf" if nil
---@param max? integer no limit if nil
---@return string|nil line
---@return string? message
function Buffer:readln(style, max) end

--- Reads from a descriptor to the end of the buffer, once: what there is, up to
--- `n` and 256 KiB. Of a descriptor that does not tell how much there is, up to
--- 4096 bytes. A datagram comes whole, or what is beyond `n` is lost. 0 is the
--- end of the file, or an empty datagram. nil with EAGAIN: nothing yet.
---
--- C: `evbuffer_read`
---@param fd libevent.descriptor
---@param n? integer from 1; as much as one call reads, if nil
---@return integer|nil count
---@return string? message
---@return integer? errno
function Buffer:read(fd, n) end

--- Writes from the start of the buffer to a descriptor, once, and takes what
--- was written from the buffer. That can be less than there is.
---
--- C: `evbuffer_write_atmost`
---@param fd libevent.descriptor
---@param n? integer as much as one call writes, if nil
---@return integer|nil count
---@return string? message
---@return integer? errno
function Buffer:write(fd, n) end

--- Adds a part of a file to the end. `file` is a file on disk, open for
--- reading, and may be closed at once; its position stays. What Lua has not yet
--- flushed is not in it. Raises if the file has no such part.
---
--- In the output of a bufferevent on a socket the system sends the bytes from
--- the file, without a copy, in later turns of the loop: the file must not
--- change until then. Such an output is not in memory: to look at its bytes
--- (`copyout`, `peek`, `search` and their like) raises until it is sent, and
--- `tostring` gives a name for it. The last 16 KiB of the part are read at
--- once, and in any other buffer all of it.
---
--- nil, and nothing added, if that fails or no descriptor is left.
---
--- C: `evbuffer_add_file`
---@param file libevent.descriptor
---@param offset? integer from 0, as `file:seek` counts; 0 if nil
---@param length? integer up to the end of the file if nil
---@return libevent.Buffer|nil buffer
---@return string? message
---@return integer? errno
function Buffer:add_file(file, offset, length) end

--- Adds a part of a file segment to the end, as `add_file` does. One segment
--- can be in many buffers with one descriptor, and may be closed at once.
---
--- C: `evbuffer_add_file_segment`
---@param segment libevent.FileSegment
---@param offset? integer from 0, which is the segment's start and the default
---@param length? integer up to the end of the segment if nil
---@return libevent.Buffer|nil buffer
---@return string? message
---@return integer? errno
function Buffer:add_file_segment(segment, offset, length) end

--- Makes room for `n` bytes in one piece at the end, so that what is read or
--- added next need not. Never needed.
---
--- C: `evbuffer_expand`
---@param n integer
---@return libevent.Buffer buffer
function Buffer:expand(n) end

--- How many bytes from the start lie in one piece: the length of what `peek`
--- returns.
---
--- C: `evbuffer_get_contiguous_space`
---@return integer count
function Buffer:contiguous_space() end

--- From now on nothing passes an end of the buffer: to take from a frozen start
--- or to put something before it raises, and so does to add to a frozen end.
--- Raises for the input or output of a bufferevent, which freezes them itself.
---
--- C: `evbuffer_freeze`
---@param ends? libevent.ends both if nil
---@return libevent.Buffer buffer
function Buffer:freeze(ends) end

--- Undoes `freeze`.
---
--- C: `evbuffer_unfreeze`
---@param ends? libevent.ends both if nil
---@return libevent.Buffer buffer
function Buffer:unfreeze(ends) end

--- Has `cb(buffer, added, deleted)` called from the loop of a base when bytes
--- were added or taken, by whomever: all changes since the last call at once,
--- in two counts. Several callbacks are called in the order in which they came,
--- even if one of them raises. One that changes the buffer is called again in
--- the next turn of the loop.
---
--- A buffer of the script's own needs the base with its first callback, and
--- keeps it alive. That of a bufferevent has its bufferevent's. Neither a
--- callback nor a change keeps the buffer alive: of one that is closed or
--- collected before the loop runs, or whose base is closed, nothing is told.
--- Raises if the buffer's callbacks run on another base.
---
--- C: `evbuffer_add_cb`, `evbuffer_defer_callbacks`
---@param cb fun(buffer: libevent.Buffer, added: integer, deleted: integer)
---@param base? libevent.Base that of the callbacks before it if nil
---@return libevent.Buffer buffer
function Buffer:add_cb(cb, base) end

--- Takes a callback away; of a function that was added twice, the first one.
--- Raises if the buffer has no such callback.
---
--- C: `evbuffer_remove_cb`
---@param cb function
---@return libevent.Buffer buffer
function Buffer:remove_cb(cb) end

--- The number of bytes; also `#buffer`.
---
--- C: `evbuffer_get_length`
---@return integer count
function Buffer:length() end

--- Frees the buffer and its bytes. On the input or output of a bufferevent it
--- does nothing: that one's own `close` does it.
---
--- C: `evbuffer_free`
---@return libevent.Buffer buffer
function Buffer:close() end

--- A part of a file, for `buffer:add_file_segment`. `#segment` is its length.
---@class libevent.FileSegment
---@operator len: integer
local FileSegment = {}

--- The number of bytes; also `#segment`.
---
--- C: none
---@return integer count
function FileSegment:length() end

--- Lets go of the file. Buffers that the segment is in keep their bytes.
---
--- C: `evbuffer_file_segment_free`
---@return libevent.FileSegment segment
function FileSegment:close() end

--- A stream with an input buffer that libevent fills and an output buffer that
--- it empties: on a descriptor, mostly a socket; one end of a `pair`; or a
--- `filter` on another one. Writing is enabled from the start, reading after
--- `enable "read"`; both begin when there is a descriptor.
---
--- It stays alive by itself while it reads, connects or has output to send, and
--- while its input is at its high mark; otherwise the script must hold it. The
--- ends of a pair call only when one of them is used: the script must hold one.
---@class libevent.Bufferevent
local Bufferevent = {}

--- Makes a bufferevent on a descriptor, or without one, to `connect` or to
--- `setfd`. A number is the bufferevent's from now on: it closes it. An object
--- closes its own. The descriptor is made non-blocking.
--- Raises for a file on disk, and for a descriptor where TLS wants a
--- `hostname`.
---
--- C: `bufferevent_socket_new`, `bufferevent_openssl_socket_new`
---@param fd? libevent.descriptor
---@param options? libevent.BuffereventOptions
---@return libevent.Bufferevent bev
function Base:bufferevent(fd, options) end

--- Makes two bufferevents joined to each other, without a socket: what one
--- writes the other reads, once that is enabled. Closing one, or ending its
--- writing with `shutdown`, is "eof" for the other; closing hands its output
--- over, whatever the marks of the other. Writing to one whose partner is
--- closed is "error", EPIPE. An end keeps the other one alive.
---
--- C: `bufferevent_pair_new`
---@return libevent.Bufferevent a
---@return libevent.Bufferevent b
function Base:pair() end

--- Makes a bufferevent on another one of the same base: what it reads comes
--- from below through `input`, what it writes goes below through `output`; nil
--- passes it on as it is. It is used as any other. The one below is its own
--- from now on: neither read from nor written to by the script, and closed
--- together with it; only `detach` gives it back. Its read marks are cleared,
--- timeouts are set on it by either; its write mark `high` (64 KiB if 0) says
--- how much waits there before no more is passed down.
---
--- A filter function is called from the loop, with two Buffers and a mode. It
--- takes what it can use from `source` and adds what comes of it to `sink`;
--- what it leaves is there again next time, with more. No mark limits that: it
--- refuses what it finds too long. Mode "flush" asks for all that can be
--- passed, "finished" says that nothing comes after it: at the end of the data
--- from below, and after `shutdown` or `close_after_flush`. `nil, message[,
--- errno]` ends the stream: the `event` callback gets "error" with them. So
--- does an error in the function, beside its usual way, as EPROTO.
---
--- The `write` callback is called when all has left the one below, too.
--- Raises for a 17th filter on each other.
---
--- C: `bufferevent_filter_new`
---@param below libevent.Bufferevent
---@param input? libevent.filtercb
---@param output? libevent.filtercb
---@return libevent.Bufferevent bev
function Base:filter(below, input, output) end

--- Makes a group of bufferevents that share limits. It lives as long as one of
--- its members, or the script, holds it.
---
--- C: `bufferevent_rate_limit_group_new`, `ev_token_bucket_cfg_new`
---@param limits libevent.Limits
---@return libevent.RateLimitGroup group
function Base:rate_limit_group(limits) end

--- Sets the three callbacks. What is nil is taken away.
---
--- `read` is called when data has come and the input holds at least its low
--- mark; `write` when the output has been sent down to its low mark, as a rule
--- to nothing; `event` when the connection is made or ends. After "eof",
--- "timeout" or "error" that direction is disabled. Input below the low mark
--- is only seen by who reads it at "eof".
---
--- Without an `event` callback the bufferevent closes itself then, after "eof"
--- when its output is sent, or the peer has taken nothing of it for the write
--- timeout (30 seconds if there is none).
---
--- C: `bufferevent_setcb`
---@param read? fun(bev: libevent.Bufferevent)
---@param write? fun(bev: libevent.Bufferevent)
---@param event? libevent.eventcb
---@return libevent.Bufferevent bev
function Bufferevent:setcb(read, write, event) end

--- The three callbacks.
---
--- C: `bufferevent_getcb`
---@return fun(bev: libevent.Bufferevent)|nil read
---@return fun(bev: libevent.Bufferevent)|nil write
---@return libevent.eventcb|nil event
function Bufferevent:getcb() end

--- Begins to connect, with a socket of its own if there is none yet. How it
--- went is told to the `event` callback: "connected"; or "error" or "timeout",
--- after which the socket is closed and `connect` may be called again. nil if
--- the address is refused at once. The write timeout is that of connecting.
--- Output may be written right away and is sent afterwards; reading, too,
--- begins then.
--- nil if it is connected (EISCONN).
--- Raises if it is connecting already, and for a "unix:" address where TLS
--- wants a `hostname`.
---
--- C: `bufferevent_socket_connect`
---@param address libevent.address
---@return libevent.Bufferevent|nil bev
---@return string? message
---@return integer? errno
function Bufferevent:connect(address) end

--- Looks a host up and connects to the first of its addresses that answers, as
--- RFC 8305 has it: IPv6 and IPv4 in turns, the next one when an attempt fails,
--- or after a short delay while those before it go on. If IPv4 is known first,
--- it waits 50 ms for IPv6.
---
--- The `event` callback gets "connected"; or "error", with a message that tells
--- of each address that was tried, and an errno: EHOSTUNREACH if there is none,
--- ETIMEDOUT if the time is over, otherwise that of the last attempt. As with
--- `connect`, output may be written right away, `close` ends all of it, and
--- after an error it may be called again. The write timeout is that of the
--- connection, not of connecting.
--- Raises if it is connecting already, or has a descriptor.
---
--- C: `bufferevent_socket_connect_hostname`
---@param host string a name, or an address without a port
---@param port integer 1 to 65535
---@param options? libevent.HostnameOptions
---@return libevent.Bufferevent bev
function Bufferevent:connect_hostname(host, port, options) end

--- Changes the descriptor; nil for none. The old one is closed if it was the
--- bufferevent's; input and output stay. TLS begins anew with the new one.
--- Raises in the callback of "connected", for a file on disk, and where TLS
--- wants a `hostname`.
---
--- C: `bufferevent_setfd`
---@param fd? libevent.descriptor
---@return libevent.Bufferevent|nil bev
---@return string? message
---@return integer? errno
function Bufferevent:setfd(fd) end

--- The descriptor; nil if there is none.
---
--- C: `bufferevent_getfd`
---@return integer|nil fd
function Bufferevent:getfd() end

--- Gives up the descriptor, still open and non-blocking, or the bufferevent
--- below a filter, with the input that was not read yet; this one is closed.
--- What is below a filter has its own callbacks again, and reads once it is
--- enabled; what the filter's function has left is in its input.
--- nil without a connection (ENOTCONN), or with output that is not sent; of a
--- filter also in its own functions and in the callback of "connected"
--- (EBUSY).
--- Raises if it speaks TLS, which nobody else could go on with.
---
--- C: none
---@return integer|libevent.Bufferevent|nil below
---@return string unread or the message
---@return integer? errno
function Bufferevent:detach() end

--- The address of the other end; "unix:" for one without a name.
---
--- C: `getpeername`
---@return libevent.address|nil address
---@return string? message
---@return integer? errno
function Bufferevent:peername() end

--- The address of this end.
---
--- C: `getsockname`
---@return libevent.address|nil address
---@return string? message
---@return integer? errno
function Bufferevent:sockname() end

--- Sets an option of the socket: "nodelay" (on from the start) and
--- "keepalive" are booleans, "keepidle" and "keepintvl" seconds, "keepcnt" a
--- number of probes, "sndbuf" and "rcvbuf" bytes.
--- nil before there is a socket (ENOTCONN): `connect` makes it.
---
--- C: `setsockopt`
---@param name libevent.sockopt
---@param value boolean|integer
---@return libevent.Bufferevent|nil bev
---@return string? message
---@return integer? errno
function Bufferevent:setsockopt(name, value) end

--- The value of an option of the socket. Linux doubles the sizes of buffers.
---
--- C: `getsockopt`
---@param name libevent.sockopt
---@return boolean|integer|nil value
---@return string? message
---@return integer? errno
function Bufferevent:getsockopt(name) end

--- Sets the priority of its callbacks, from 0, the most urgent, to
--- `base:npriorities() - 1`; at first it is in the middle. nil while one of
--- them is due (EBUSY).
--- Raises for a pair and a filter.
---
--- C: `bufferevent_priority_set`
---@param priority integer
---@return libevent.Bufferevent|nil bev
---@return string? message
---@return integer? errno
function Bufferevent:priority_set(priority) end

--- The priority of its callbacks.
---
--- C: `bufferevent_get_priority`
---@return integer priority
function Bufferevent:priority() end

--- The other end of a pair; nil if that is closed, or there is none.
---
--- C: `bufferevent_pair_get_partner`
---@return libevent.Bufferevent|nil partner
function Bufferevent:partner() end

--- What a filter stands on; nil for any other.
---
--- C: `bufferevent_get_underlying`
---@return libevent.Bufferevent|nil below
function Bufferevent:underlying() end

--- Takes bytes from the input: as many as there are, up to `n`, so "" if there
--- are none.
---
--- C: `bufferevent_read`
---@param n? integer all if nil
---@return string bytes
function Bufferevent:read(n) end

--- Moves all of the input to the end of a buffer, without a copy.
---
--- C: `bufferevent_read_buffer`
---@param buffer libevent.Buffer
---@return libevent.Bufferevent bev
function Bufferevent:read_buffer(buffer) end

--- Adds data to the output. In a callback it is sent when that returns; what
--- the socket does not take, and what is written elsewhere, libevent sends from
--- its loop. There is no limit: who writes faster than the peer reads looks at
--- `#bev:output()`. `bev:write(bev:input())` moves the input without a copy.
--- Raises after `shutdown`.
---
--- C: `bufferevent_write`, `bufferevent_write_buffer`
---@param ... libevent.data
---@return libevent.Bufferevent bev
function Bufferevent:write(...) end

--- Moves all of a buffer to the output, without a copy.
--- Raises after `shutdown`.
---
--- C: `bufferevent_write_buffer`
---@param buffer libevent.Buffer
---@return libevent.Bufferevent bev
function Bufferevent:write_buffer(buffer) end

--- What has come and is not yet read: each time the same Buffer.
---
--- C: `bufferevent_get_input`
---@return libevent.Buffer buffer
function Bufferevent:input() end

--- What is written and not yet sent: each time the same Buffer.
---
--- C: `bufferevent_get_output`
---@return libevent.Buffer buffer
function Bufferevent:output() end

--- Hurries data through what holds it back on its way: "normal", "flush" for
--- all that can go, "finished" at the end of the data, after which nothing more
--- can be written. A filter's functions are called for it, from the loop; an
--- end of a pair hands over what its partner does not read yet. A socket holds
--- nothing back, so it says false.
---
--- C: `bufferevent_flush`
---@param directions? libevent.directions both if nil
---@param mode? "normal"|"flush"|"finished" "normal" if nil
---@return boolean flushed whether there was something to hurry
function Bufferevent:flush(directions, mode) end

--- Ends one direction, or both. "write" tells the peer that no more will come,
--- when the output is sent, and adding to the output raises from now on;
--- reading goes on. "read" takes effect at once.
---
--- C: `shutdown`
---@param directions? libevent.directions "write" if nil
---@return libevent.Bufferevent|nil bev
---@return string? message
---@return integer? errno
function Bufferevent:shutdown(directions) end

--- Starts reading, or writing. "write" is enabled from the start; enabled again
--- with nothing to send, it can cause one extra call of the write callback.
---
--- C: `bufferevent_enable`
---@param directions libevent.directions
---@return libevent.Bufferevent|nil bev
---@return string? message
---@return integer? errno
function Bufferevent:enable(directions) end

--- Stops reading, or writing. Back-pressure is `disable "read"` while the other
--- side is slow and `enable "read"` afterwards; the end of the peer's data is
--- not seen meanwhile.
---
--- C: `bufferevent_disable`
---@param directions libevent.directions
---@return libevent.Bufferevent bev
function Bufferevent:disable(directions) end

--- The directions that are enabled; "" if none is.
---
--- C: `bufferevent_get_enabled`
---@return libevent.directions directions
function Bufferevent:enabled() end

--- Sets both marks of one direction, or of both directions, in bytes.
---
--- Read: the callback waits for `low` bytes, and reading stops at `high`, which
--- 0 switches off; it goes on when the script has taken enough, and the
--- callback is not called before that. Write: the callback is called at `low`
--- bytes of output or less; `high` says nothing.
--- Raises for a high mark below the low one.
---
--- C: `bufferevent_setwatermark`
---@param directions libevent.directions
---@param low? integer 0 if nil
---@param high? integer 0 if nil
---@return libevent.Bufferevent bev
function Bufferevent:setwatermark(directions, low, high) end

--- The two marks of one direction.
---
--- C: `bufferevent_getwatermark`
---@param direction "read"|"write"
---@return integer low
---@return integer high
function Bufferevent:getwatermark(direction) end

--- Sets how long nothing may come while reading is enabled, and how long
--- nothing may be sent while there is output or a connection is being made. The
--- `event` callback gets "timeout", and that direction is disabled: to go on,
--- enable it again.
---
--- C: `bufferevent_set_timeouts`
---@param read? libevent.seconds none if nil or 0
---@param write? libevent.seconds none if nil or 0
---@return libevent.Bufferevent bev
function Bufferevent:set_timeouts(read, write) end

--- Has the loop call the `read` or `write` callback, or both, as if data had
--- moved; where a mark does not allow it, only with "ignore_watermarks". Never
--- at once, as in libevent with "defer_callbacks".
---
--- C: `bufferevent_trigger`
---@param directions libevent.directions
---@param options? "ignore_watermarks"|"defer_callbacks"
---@return libevent.Bufferevent bev
function Bufferevent:trigger(directions, options) end

--- Has the loop call the `event` callback, or without one what stands for it.
--- `what` has one of "eof", "error", "timeout" and one of "reading",
--- "writing": "eof|reading".
---
--- C: `bufferevent_trigger_event`
---@param what string
---@param code? integer of an "error"; ECONNABORTED if nil
---@return libevent.Bufferevent bev
function Bufferevent:trigger_event(what, code) end

--- Limits how fast it reads and writes; nil: no limit. It begins with the bytes
--- of one tick; other limits go on with what the old ones had left. libevent
--- has limits for sockets alone: a filter's are those of the one below it.
--- While it waits for its bytes no timeout passes; each time it goes on can
--- cause one extra call of the write callback.
--- Raises for a pair and a filter.
---
--- C: `bufferevent_set_rate_limit`, `ev_token_bucket_cfg_new`
---@param limits? libevent.Limits
---@return libevent.Bufferevent bev
function Bufferevent:set_rate_limit(limits) end

--- Makes it a member of the group, and of no other. A limit of its own holds
--- as well.
---
--- C: `bufferevent_add_to_rate_limit_group`
---@param group libevent.RateLimitGroup
---@return libevent.Bufferevent bev
function Bufferevent:add_to_rate_limit_group(group) end

--- Ends its membership, if there is one. Closing does so too.
---
--- C: `bufferevent_remove_from_rate_limit_group`
---@return libevent.Bufferevent bev
function Bufferevent:remove_from_rate_limit_group() end

--- The bytes that may be read now; below 0 what was too much is made up for.
--- nil without such a limit of its own.
---
--- C: `bufferevent_get_read_limit`
---@return integer|nil bytes
function Bufferevent:read_limit() end

--- The bytes that may be written now, likewise.
---
--- C: `bufferevent_get_write_limit`
---@return integer|nil bytes
function Bufferevent:write_limit() end

--- Counts bytes as read that went another way; negative ones are given back, up
--- to the burst.
--- Raises without such a limit of its own.
---
--- C: `bufferevent_decrement_read_limit`
---@param bytes integer
---@return libevent.Bufferevent bev
function Bufferevent:decrement_read_limit(bytes) end

--- Counts bytes as written, likewise.
---
--- C: `bufferevent_decrement_write_limit`
---@param bytes integer
---@return libevent.Bufferevent bev
function Bufferevent:decrement_write_limit(bytes) end

--- The most that the next read takes, by limits and sizes.
---
--- C: `bufferevent_get_max_to_read`
---@return integer bytes
function Bufferevent:max_to_read() end

--- The most that the next write sends, likewise.
---
--- C: `bufferevent_get_max_to_write`
---@return integer bytes
function Bufferevent:max_to_write() end

--- Sets the most that is read from the socket in one turn. If it is set,
--- libevent 2.1 reads no more than 4096 bytes whatever it is; if not, a turn
--- reads up to 65536. A rate limit takes its place.
---
--- C: `bufferevent_set_max_single_read`
---@param bytes? integer none if nil
---@return libevent.Bufferevent bev
function Bufferevent:set_max_single_read(bytes) end

--- What was set as the most that is read in one turn; 16384 if nothing was.
---
--- C: `bufferevent_get_max_single_read`
---@return integer bytes
function Bufferevent:max_single_read() end

--- Sets the most that is written to the socket in one turn; if it is not set,
--- that is what the socket takes. A rate limit takes its place.
---
--- C: `bufferevent_set_max_single_write`
---@param bytes? integer none if nil
---@return libevent.Bufferevent bev
function Bufferevent:set_max_single_write(bytes) end

--- What was set as the most that is written in one turn; 16384 if nothing was.
---
--- C: `bufferevent_get_max_single_write`
---@return integer bytes
function Bufferevent:max_single_write() end

--- The base that the bufferevent is on.
---
--- C: `bufferevent_get_base`
---@return libevent.Base base
function Bufferevent:base() end

--- Closes the descriptor, if it is the bufferevent's, at once. Output that is
--- not sent is lost: `close_after_flush` sends it first. A peer that speaks TLS
--- is told that no more comes.
---
--- C: `bufferevent_free`
---@return libevent.Bufferevent bev
function Bufferevent:close() end

--- Sends what is in the output, then closes. To the script it is closed now: no
--- callback is called any more. A peer that takes nothing for some seconds
--- loses the rest. Where data of the peer's is unread, TCP would throw away
--- what is still on its way: it is read, for nobody, until the peer closes or
--- for that time.
---
--- C: none
---@param seconds? libevent.seconds 30 if nil; 0 closes at once
---@return libevent.Bufferevent bev
function Bufferevent:close_after_flush(seconds) end

--- Begins with TLS in the middle of a conversation: on a descriptor that is
--- connected. What is not sent yet is sent in the clear before it. What has
--- come already, unread, is taken for the peer's handshake, as all that comes
--- from now on: so nothing that somebody has slipped in before TLS can be read
--- as if it had come by it. "connected" is told when it is done.
---
--- nil without a connection (ENOTCONN); with ENOMEM it is closed, as it is
--- neither plain any more nor safe.
--- Raises if it speaks TLS already, is shut down for writing, is no socket or
--- below a filter, and for a client that verifies without a `hostname`.
---
--- C: `bufferevent_openssl_filter_new`
---@param context libevent.tls.Context
---@param hostname? string|false a client's: as for `base:bufferevent`
---@return libevent.Bufferevent|nil bev
---@return string? message
---@return integer? errno
function Bufferevent:starttls(context, hostname) end

--- What is known of TLS, also on a filter above it; nil before the handshake is
--- done, and without TLS.
---
--- C: `bufferevent_openssl_get_ssl`
---@return libevent.tls.Session|nil session
function Bufferevent:tls() end

--- Bufferevents on sockets that share limits: at a time, no member gets more
--- than an even share of what is left, or the least that `set_min_share` sets.
--- It keeps the loop running while bytes move, and for a few ticks after.
---@class libevent.RateLimitGroup
local RateLimitGroup = {}

--- Sets other limits for the group, which go on with what the old ones had
--- left.
---
--- C: `bufferevent_rate_limit_group_set_cfg`
---@param limits libevent.Limits
---@return libevent.RateLimitGroup group
function RateLimitGroup:set_cfg(limits) end

--- Sets the least that a member may move at a time; 64 at first, and never more
--- than the bytes of a tick. A small one makes small packets, a large one an
--- uneven share.
---
--- C: `bufferevent_rate_limit_group_set_min_share`
---@param bytes integer from 1
---@return libevent.RateLimitGroup group
function RateLimitGroup:set_min_share(bytes) end

--- The bytes that all members together may read now; it can be negative. nil
--- without such a limit.
---
--- C: `bufferevent_rate_limit_group_get_read_limit`
---@return integer|nil bytes
function RateLimitGroup:read_limit() end

--- The bytes that all members together may write now; it can be negative. nil
--- without such a limit.
---
--- C: `bufferevent_rate_limit_group_get_write_limit`
---@return integer|nil bytes
function RateLimitGroup:write_limit() end

--- Counts bytes as read by the group, not in its totals; negative ones are
--- given back, up to the burst.
--- Raises without such a limit.
---
--- C: `bufferevent_rate_limit_group_decrement_read`
---@param bytes integer
---@return libevent.RateLimitGroup group
function RateLimitGroup:decrement_read(bytes) end

--- Counts bytes as written by the group, likewise.
---
--- C: `bufferevent_rate_limit_group_decrement_write`
---@param bytes integer
---@return libevent.RateLimitGroup group
function RateLimitGroup:decrement_write(bytes) end

--- The bytes that have been read and written by members so far.
---
--- C: `bufferevent_rate_limit_group_get_totals`
---@return integer read
---@return integer written
function RateLimitGroup:totals() end

--- Counts the totals anew from 0.
---
--- C: `bufferevent_rate_limit_group_reset_totals`
---@return libevent.RateLimitGroup group
function RateLimitGroup:reset_totals() end

--- The base that the group is on.
---
--- C: none
---@return libevent.Base base
function RateLimitGroup:base() end

--- Ends the group and its limits; its members go on without.
---
--- C: `bufferevent_rate_limit_group_free`
---@return libevent.RateLimitGroup group
function RateLimitGroup:close() end

--- A socket that accepts connections. While it is enabled it stays alive by
--- itself, and keeps the loop running.
---@class libevent.Listener
local Listener = {}

--- Listens on an address, or on a socket that is bound already. A number is
--- the listener's, which closes it, unless this fails. An object closes its
--- own. A unix socket's file is removed at the end.
---
--- The callback gets each connection as a bufferevent, not yet reading, and
--- the peer's address. One that is neither enabled for reading, written to nor
--- kept is closed when it is collected.
---
--- Without descriptors for another connection the listener pauses for 0.1
--- seconds at a time, and tells so once: see `set_error_cb`.
---
--- C: `evconnlistener_new_bind`, `evconnlistener_new`
---@param address libevent.address|libevent.descriptor
---@param cb fun(l: libevent.Listener, conn: libevent.Bufferevent, peer: string)
---@param options? libevent.ListenerOptions
---@return libevent.Listener|nil listener
---@return string? message
---@return integer? errno
function Base:listener(address, cb, options) end

--- Accepts connections again.
---
--- C: `evconnlistener_enable`
---@return libevent.Listener|nil listener
---@return string? message
---@return integer? errno
function Listener:enable() end

--- Accepts no more for now; the system keeps up to `backlog` of them waiting.
---
--- C: `evconnlistener_disable`
---@return libevent.Listener listener
function Listener:disable() end

--- Whether the listener is enabled; a pause does not count.
---
--- C: none
---@return boolean enabled
function Listener:enabled() end

--- Sets another callback for connections.
---
--- C: `evconnlistener_set_cb`
---@param cb fun(l: libevent.Listener, conn: libevent.Bufferevent, peer: string)
---@return libevent.Listener listener
function Listener:set_cb(cb) end

--- Sets a function that is told when the listener begins to pause. Without one
--- it is a warning of Lua's, which `warn "@on"` shows.
---
--- C: `evconnlistener_set_error_cb`
---@param cb? fun(l: libevent.Listener, message: string, errno: integer)
---@return libevent.Listener listener
function Listener:set_error_cb(cb) end

--- The descriptor.
---
--- C: `evconnlistener_get_fd`
---@return integer fd
function Listener:fd() end

--- The address it listens on, with the port that port 0 has become.
---
--- C: `getsockname`
---@return libevent.address|nil address
---@return string? message
---@return integer? errno
function Listener:sockname() end

--- The base that the listener is on.
---
--- C: `evconnlistener_get_base`
---@return libevent.Base base
function Listener:base() end

--- Stops listening. Connections that were handed over stay.
---
--- C: `evconnlistener_free`
---@return libevent.Listener listener
function Listener:close() end

--- Who is asked for names, by DNS: look-ups that wait for nobody. It keeps no
--- loop running, and no socket open, while nothing is looked up; each time that
--- it has something to ask again it does so from other ports.
---
--- libevent asks by UDP alone, and takes answers of 512 bytes at most: a name
--- with more addresses than that is "truncated".
---@class libevent.Dns
local Dns = {}

--- Makes a Dns. nil if a file that the options name cannot be read.
---
--- C: `evdns_base_new`
---@param options? libevent.DnsOptions
---@return libevent.Dns|nil dns
---@return string? message
---@return integer? errno
function Base:dns(options) end

--- Looks up the addresses of a host: in the hosts file, and if that does not
--- know it, by asking. A numeric address is its own, and nobody is asked. A
--- name without a dot at its end may be in one of the domains of `search`. Of
--- two families one can fail: then the addresses of the other are the answer.
--- What is no name at all is told to the callback, too, as "invalid".
---
--- The callback is called once, from the loop, never inside this call. The
--- request is closed by then.
---
--- C: `evdns_base_resolve_ipv4`, `evdns_base_resolve_ipv6`, `evdns_getaddrinfo`
---@overload fun(self, host, cb: libevent.resolvecb): libevent.DnsRequest
---@param host string
---@param options? libevent.ResolveOptions may be left out
---@param cb libevent.resolvecb
---@return libevent.DnsRequest request
function Dns:resolve(host, options, cb) end

--- Looks up the name of an address; asks for it in any case. The callback gets
--- one name, of 63 bytes at most: a longer one is "unknown".
---
--- C: `evdns_base_resolve_reverse`, `evdns_base_resolve_reverse_ipv6`
---@overload fun(self, address, cb: libevent.reversecb): libevent.DnsRequest
---@param address string without a port: "127.0.0.1", "::1"
---@param options? libevent.ReverseOptions may be left out
---@param cb libevent.reversecb
---@return libevent.DnsRequest request
function Dns:reverse(address, options, cb) end

--- Adds a name server; one that is there already is not added again.
---
--- C: `evdns_base_nameserver_ip_add`, `evdns_base_nameserver_add`
---@param address string "127.0.0.1", "::1", "127.0.0.1:5353", "[::1]:5353"
---@return libevent.Dns dns
function Dns:nameserver_ip_add(address) end

--- The number of name servers.
---
--- C: `evdns_base_count_nameservers`
---@return integer count
function Dns:count_nameservers() end

--- The address of a name server, with its port; nil if there are not so many.
---
--- C: `evdns_base_get_nameserver_addr`
---@param i integer from 1
---@return libevent.address|nil address
function Dns:nameserver_addr(i) end

--- Forgets all name servers, and asks nobody until `resume`: what is looked up
--- waits, up to its deadline.
---
--- C: `evdns_base_clear_nameservers_and_suspend`
---@return libevent.Dns dns
function Dns:clear_nameservers_and_suspend() end

--- Asks those that were added meanwhile for all that waits. nil if there are
--- none (EDESTADDRREQ).
---
--- C: `evdns_base_resume`
---@return libevent.Dns|nil dns
---@return string? message
---@return integer? errno
function Dns:resume() end

--- Sets an option of `base:dns`, for what is asked from now on.
---
--- C: `evdns_base_set_option`
---@param name libevent.dnsoption
---@param value libevent.seconds|integer|boolean
---@return libevent.Dns dns
function Dns:set_option(name, value) end

--- Adds a domain that names may be in, after those that there are.
---
--- C: `evdns_base_search_add`
---@param domain string
---@return libevent.Dns dns
function Dns:search_add(domain) end

--- Forgets all domains.
---
--- C: `evdns_base_search_clear`
---@return libevent.Dns dns
function Dns:search_clear() end

--- Sets the option `ndots`.
---
--- C: `evdns_base_search_ndots_set`
---@param n integer 0 to 255
---@return libevent.Dns dns
function Dns:search_ndots_set(n) end

--- Reads a resolv.conf, from now on in place of the one before; what the script
--- has said itself stays.
---
--- C: `evdns_base_resolv_conf_parse`
---@param path string
---@return libevent.Dns|nil dns
---@return string? message
---@return integer? errno
function Dns:resolv_conf_parse(path) end

--- Reads a hosts file, from now on in place of the one before.
---
--- C: `evdns_base_load_hosts`
---@param path string
---@return libevent.Dns|nil dns
---@return string? message
---@return integer? errno
function Dns:load_hosts(path) end

--- Forgets the hosts file.
---
--- C: `evdns_base_clear_host_addresses`
---@return libevent.Dns dns
function Dns:clear_host_addresses() end

--- The base that the Dns is on.
---
--- C: none
---@return libevent.Base base
function Dns:base() end

--- Ends the Dns. What is looked up ends with "shutdown".
---
--- C: `evdns_base_free`
---@return libevent.Dns dns
function Dns:close() end

--- A look-up. It stays alive by itself, and keeps its Dns alive and the loop
--- running, until its callback is called.
---@class libevent.DnsRequest
local DnsRequest = {}

--- Ends the look-up: true, and the callback is told "cancel"; or false if it is
--- over or closed, which is no mistake.
---
--- C: `evdns_cancel_request`, `evdns_getaddrinfo_cancel`
---@return boolean cancelled
function DnsRequest:cancel() end

--- Ends the look-up; the callback is not called any more.
---
--- C: none
---@return libevent.DnsRequest request
function DnsRequest:close() end

--- A socket that answers questions for names, by UDP. It stays alive by itself
--- and keeps the loop running until it is closed. After 64 questions others
--- have their turn.
---@class libevent.DnsServer
local DnsServer = {}

--- Waits for questions at an address, or on a socket for datagrams that is
--- bound already. A number is the server's, which closes it, unless this fails;
--- an object is kept alive and keeps its own.
---
--- The callback gets each question, to be answered now or later. An error in it
--- answers "serverfailed". What is a request, but not one question, is answered
--- "format", and one of another kind (an UPDATE) "notimpl".
--- Raises for a unix socket's address.
---
--- C: `evdns_add_server_port_with_base`
---@param address libevent.address|libevent.descriptor
---@param cb fun(query: libevent.DnsQuery)
---@return libevent.DnsServer|nil server
---@return string? message
---@return integer? errno
function Base:dns_server(address, cb) end

--- Sets another callback for questions.
---
--- C: none
---@param cb fun(query: libevent.DnsQuery)
---@return libevent.DnsServer server
function DnsServer:set_cb(cb) end

--- The descriptor.
---
--- C: none
---@return integer fd
function DnsServer:fd() end

--- The address it waits at, with the port that port 0 has become.
---
--- C: `getsockname`
---@return libevent.address|nil address
---@return string? message
---@return integer? errno
function DnsServer:sockname() end

--- The base that the server is on.
---
--- C: none
---@return libevent.Base base
function DnsServer:base() end

--- Ends the server. Questions that are not answered yet are told
--- "serverfailed".
---
--- C: `evdns_close_server_port`
---@return libevent.DnsServer server
function DnsServer:close() end

--- A question that a DnsServer is asked, and the answer to it, record by record
--- until `respond`: then it is closed. The script must hold it if it answers
--- later. No client waits for nothing: one that is closed or collected without
--- an answer is answered "serverfailed".
---
--- An answer has 1232 bytes at most: a record that has no room in it is nil,
--- "the answer is too long" and EMSGSIZE, and is not added. A client that does
--- not say (by EDNS) that it takes more than 512 bytes gets what fits, marked
--- as truncated. There is no TCP.
---@class libevent.DnsQuery
local DnsQuery = {}

--- The name, in the letters of the question: "wWw.EXample". Compare it in lower
--- case; answer with it as it is, or nil. A dot inside of a part of it, and
--- what cannot be printed, is written as in zone files: "a\.b", "\000".
---
--- C: none
---@return string name
function DnsQuery:name() end

--- What is asked for.
---
--- C: none
---@return libevent.dnstype type
function DnsQuery:type() end

--- The class: 1, the Internet, in all that matters.
---
--- C: none
---@return integer class
function DnsQuery:class() end

--- Who asks.
---
--- C: `evdns_server_request_get_requesting_addr`
---@return libevent.address address
function DnsQuery:requesting_addr() end

--- The server that was asked.
---
--- C: none
---@return libevent.DnsServer server
function DnsQuery:server() end

--- Answers with an IPv4 address, or with several, a record for each.
---
--- C: `evdns_server_request_add_a_reply`
---@param name string|nil the question's if nil
---@param addresses string|string[]
---@param ttl integer seconds that it holds for, 0 to 2147483647
---@return libevent.DnsQuery|nil query
---@return string? message
---@return integer? errno
function DnsQuery:add_a_reply(name, addresses, ttl) end

--- Answers with an IPv6 address, or with several, likewise.
---
--- C: `evdns_server_request_add_aaaa_reply`
---@param name string|nil the question's if nil
---@param addresses string|string[]
---@param ttl integer
---@return libevent.DnsQuery|nil query
---@return string? message
---@return integer? errno
function DnsQuery:add_aaaa_reply(name, addresses, ttl) end

--- Answers with the name of an address.
---
--- C: `evdns_server_request_add_ptr_reply`
---@param name string|nil a name, or the address itself; the question's if nil
---@param hostname string
---@param ttl integer
---@return libevent.DnsQuery|nil query
---@return string? message
---@return integer? errno
function DnsQuery:add_ptr_reply(name, hostname, ttl) end

--- Answers that the name is another one's alias. Add the addresses of that one,
--- too: clients do not ask again.
---
--- C: `evdns_server_request_add_cname_reply`
---@param name string|nil the question's if nil
---@param cname string
---@param ttl integer
---@return libevent.DnsQuery|nil query
---@return string? message
---@return integer? errno
function DnsQuery:add_cname_reply(name, cname, ttl) end

--- Adds a record of any type, with the bytes that it has on the wire.
---
--- C: `evdns_server_request_add_reply`
---@param section "answer"|"authority"|"additional"
---@param name string|nil the question's if nil
---@param type libevent.dnstype
---@param class integer 1, as a rule
---@param ttl integer
---@param data string
---@param is_name? boolean true: `data` is a name, to be written as one
---@return libevent.DnsQuery|nil query
---@return string? message
---@return integer? errno
function DnsQuery:add_reply(section, name, type, class, ttl, data, is_name) end

--- Sets the flags of the answer, in place of those before.
---
--- C: `evdns_server_request_set_flags`
---@param flags libevent.dnsflags
---@return libevent.DnsQuery query
function DnsQuery:set_flags(flags) end

--- Sends the answer. The query is closed then, also if that fails.
---
--- C: `evdns_server_request_respond`
---@param error? libevent.dnserror "none" if nil
---@return libevent.DnsQuery|nil query
---@return string? message
---@return integer? errno
function DnsQuery:respond(error) end

--- Does not answer at all: the client may ask again.
---
--- C: `evdns_server_request_drop`
---@return libevent.DnsQuery query
function DnsQuery:drop() end

--- Answers "serverfailed", if it is not answered yet.
---
--- C: none
---@return libevent.DnsQuery query
function DnsQuery:close() end

--- A server of HTTP/1.1 and 1.0, in evhttp's words; the engine is this
--- library's own. It hears what its listeners accept, reads request after
--- request of each connection, and calls the callback of each one's path. Its
--- connections keep it alive, and so do its listeners while they are enabled.
---
--- Limits and timeouts are on from the start. What is not exactly as RFC 9112
--- says is answered 400, and the connection closed: the guide has a table.
---
--- An error in a callback answers 500, or ends the connection if the answer has
--- begun; then it goes where errors of callbacks go.
---@class libevent.Http
local Http = {}

--- Makes a server, which hears nothing before `bind_socket`.
---
--- C: `evhttp_new`
---@param options? libevent.HttpOptions
---@return libevent.Http http
function Base:http(options) end

--- Listens on an address, or on a socket that is bound already, as
--- `base:listener` does; a server can do so several times. The listener can be
--- asked for its `sockname`, disabled and closed.
---
--- C: `evhttp_bind_socket_with_handle`, `evhttp_accept_socket_with_handle`
---@param address libevent.address|libevent.descriptor
---@param options? libevent.ListenerOptions
---@return libevent.Listener|nil listener
---@return string? message
---@return integer? errno
function Http:bind_socket(address, options) end

--- Sets the callback for requests of a path, which is compared as `req:path`
--- tells it, byte for byte. It is called when all of a request is there, in the
--- order of requests on each connection, and answers now or later; the next
--- request of the connection waits for that.
---
--- C: `evhttp_set_cb`
---@param path string "/a b": decoded, without a query
---@param cb? fun(req: libevent.HttpRequest) nil takes it away
---@param options? libevent.HttpPathOptions
---@return libevent.Http http
function Http:set_cb(path, cb, options) end

--- Takes the callback of a path away, and tells whether there was one.
---
--- C: `evhttp_del_cb`
---@param path string
---@return boolean was
function Http:del_cb(path) end

--- Sets the callback for requests of all other paths. Without one they are
--- answered 404.
---
--- C: `evhttp_set_gencb`
---@param cb? fun(req: libevent.HttpRequest)
---@param options? libevent.HttpPathOptions
---@return libevent.Http http
function Http:set_gencb(cb, options) end

--- Sets the option `allowed_methods`.
---
--- C: `evhttp_set_allowed_methods`
---@param methods libevent.httpmethods
---@return libevent.Http http
function Http:set_allowed_methods(methods) end

--- Sets all four timeouts to the same time. That for writing holds for
--- connections that come from now on, the others for all, from their next wait
--- on.
---
--- C: `evhttp_set_timeout`, `evhttp_set_timeout_tv`
---@param seconds? libevent.seconds|false more than 0; none if nil or false
---@return libevent.Http http
function Http:set_timeout(seconds) end

--- Sets those that are named, likewise.
---
--- C: none
---@param options libevent.HttpTimeouts
---@return libevent.Http http
function Http:set_timeouts(options) end

--- Sets the option `max_headers_size`.
---
--- C: `evhttp_set_max_headers_size`
---@param bytes integer from 1
---@return libevent.Http http
function Http:set_max_headers_size(bytes) end

--- Sets the option `max_body_size`.
---
--- C: `evhttp_set_max_body_size`
---@param bytes? integer|false from 0; no limit if nil or false
---@return libevent.Http http
function Http:set_max_body_size(bytes) end

--- Sets the option `default_content_type`.
---
--- C: `evhttp_set_default_content_type`
---@param type? string|false none if nil or false
---@return libevent.Http http
function Http:set_default_content_type(type) end

--- Sets the option `max_connections`. Those that there are stay.
---
--- C: none
---@param n? integer|false from 1; no limit if nil or false
---@return libevent.Http http
function Http:set_max_connections(n) end

--- Lets another server answer for the hosts of a pattern. Of that one only
--- callbacks, its `max_body_size` and its own virtual hosts count: it needs no
--- socket, and what it has of limits, times and methods is not looked at. Names
--- of `add_server_alias` come before patterns; of those the first that fits
--- counts, in the order in which they were added. For other hosts the server
--- answers itself.
--- Raises if the two would contain each other.
---
--- C: `evhttp_add_virtual_host`
---@param pattern string a host in any case; "*" in it is any text
---@param vhost libevent.Http
---@return libevent.Http http
function Http:add_virtual_host(pattern, vhost) end

--- Takes all patterns of a virtual host away, and tells whether it had one.
---
--- C: `evhttp_remove_virtual_host`
---@param vhost libevent.Http
---@return boolean was
function Http:remove_virtual_host(vhost) end

--- Gives a server, or a virtual host of one, a name that it answers for,
--- whatever the patterns say.
---
--- C: `evhttp_add_server_alias`
---@param name string a host in any case
---@return libevent.Http http
function Http:add_server_alias(name) end

--- Takes such a name away, and tells whether it was one.
---
--- C: `evhttp_remove_server_alias`
---@param name string
---@return boolean was
function Http:remove_server_alias(name) end

--- How many connections there are now, those included that wait for their next
--- request.
---
--- C: none
---@return integer count
function Http:connection_count() end

--- Ends without breaking anything off: listeners are closed, connections
--- without a request too, and each other one with the answer that it waits for,
--- which says so ("Connection: close"). `cb` is called from the loop when the
--- last one is gone. `bind_socket` begins anew.
---
--- C: none
---@param cb? fun(http: libevent.Http)
---@return libevent.Http http
function Http:stop(cb) end

--- The base that the server is on.
---
--- C: none
---@return libevent.Base base
function Http:base() end

--- Closes the listeners and all connections at once. Requests that are not
--- answered hear nothing of it; to answer them later is a refusal (ECONNRESET).
---
--- C: `evhttp_free`
---@return libevent.Http http
function Http:close() end

--- A message that has come, and the other one of the pair that it is: a
--- server's callback gets a request and answers it; a client's gets its request
--- again, with the answer.
---
--- A server's is answered once, now or later; to answer it twice raises.
--- Whoever answers later holds it. One that is collected unanswered is answered
--- 500, so that no client waits for nothing. After the answer, and when the
--- client is gone, all that came can still be asked for, but the request has no
--- connection: what needs one returns nil, "Connection reset by peer" and
--- ECONNRESET.
---
--- Of a client's request, what came is the answer: to ask for it raises before
--- its head is there.
---@class libevent.HttpRequest
local HttpRequest = {}

--- The method: "GET".
---
--- C: `evhttp_request_get_command`
---@return string method
function HttpRequest:command() end

--- The target as it was sent: "/a%20b?x=1", "http://host/path", "*".
---
--- C: `evhttp_request_get_uri`
---@return string uri
function HttpRequest:uri() end

--- The path of the target: "/a b". It is decoded once, and "." and ".." are
--- resolved after that; it never leads above "/": what would, or has a NUL or a
--- "%" that begins no escape, has been answered 400. "*" for `OPTIONS *`, the
--- target for CONNECT: "host:443".
--- Raises for a client's.
---
--- C: `evhttp_uri_get_path`
---@return string path
function HttpRequest:path() end

--- What stands behind the "?", as it was sent; nil without one.
--- Raises for a client's.
---
--- C: `evhttp_uri_get_query`
---@return string|nil query
function HttpRequest:query_string() end

--- The query, taken apart: "a=1&b=%32+3" is `{{"a", "1"}, {"b", "2 3"}, a =
--- "1", b = "2 3"}`. Names and values are decoded, "+" is a space, a "%" that
--- begins no escape stays; a name without "=" has the value "", and empty parts
--- are left out. Or of a name all values, nil if there are none.
--- Raises for a client's.
---
--- C: `evhttp_parse_query`
---@param name? string
---@return libevent.httplist|string|nil values
---@return string ...
function HttpRequest:query(name) end

--- The version of what came, "1.1" or "1.0".
---
--- C: none
---@return string version
function HttpRequest:version() end

--- The host that is asked for, in lower case and without a port; from the
--- target, if that has one. An IPv6 address has its brackets. nil if there is
--- none, as HTTP/1.0 allows.
--- Raises for a client's.
---
--- C: `evhttp_request_get_host`
---@return string|nil host
function HttpRequest:host() end

--- The values that a header has, each field a result, nil if there is none.
---
--- C: `evhttp_find_header`
---@param name string in any case
---@return string|nil value
---@return string ...
function HttpRequest:find_header(name) end

--- All header fields; names are in lower case.
---
--- C: `evhttp_request_get_input_headers`
---@return libevent.httplist list
function HttpRequest:headers() end

--- The fields that came after a body in chunks, likewise; empty before its end.
---
--- C: none
---@return libevent.httplist list
function HttpRequest:trailers() end

--- The status of the answer: the one that came, or of a server's request the
--- one that its callback has sent; nil before.
---
--- C: `evhttp_request_get_response_code`
---@return integer|nil status
function HttpRequest:response_code() end

--- The words that came with the status, "OK"; they may be none: "".
--- Raises for a server's.
---
--- C: `evhttp_request_get_response_code_line`
---@return string reason
function HttpRequest:response_code_line() end

--- The body that was collected, as a Buffer of the request's, from which it can
--- be moved on. What is taken from it is not in `body` any more.
---
--- C: `evhttp_request_get_input_buffer`
---@return libevent.Buffer buffer
function HttpRequest:input_buffer() end

--- The body that was collected, "" if there is none, or it is streamed.
---
--- C: `evhttp_request_get_input_buffer`
---@return string body
function HttpRequest:body() end

--- The address of the other side; "unix:" for a unix socket. It is known after
--- the end of the connection, too; of a client's request not before it is
--- connected.
---
--- C: `evhttp_connection_get_peer`, `evhttp_connection_get_addr`
---@return libevent.address|nil address
---@return string? message
---@return integer? errno
function HttpRequest:peername() end

--- What is known of TLS on its connection, as `bev:tls` tells it; nil without
--- TLS, and for one that is answered: a client's connection still knows.
---
--- C: `bufferevent_openssl_get_ssl`
---@return libevent.tls.Session|nil session
function HttpRequest:tls() end

--- The base that its connection is on.
---
--- C: `evhttp_connection_get_base`
---@return libevent.Base|nil base
---@return string? message
---@return integer? errno
function HttpRequest:base() end

--- Sets the function for a streamed body: called with each piece of it as it
--- comes, and with nil at its end. Before it is set nothing of the body is
--- read, and a client that asks first (`Expect: 100-continue`) is not told to
--- send. The answer may be sent before the end; what still comes then is read
--- for nobody, up to 256 KiB. A body that does not come to its end is told to
--- `set_closecb`'s function alone.
--- Raises if the body is not streamed: see `set_cb`, `make_request`.
---
--- C: `evhttp_request_set_chunked_cb`
---@param cb? fun(req: libevent.HttpRequest, data: string|nil) nil: wait again
---@return libevent.HttpRequest req
function HttpRequest:set_chunked_cb(cb) end

--- Reads no more of a streamed body than 64 KiB ahead, until `resume`: the
--- sender has to wait. No timeout of a body runs meanwhile at a server.
--- Raises if the body is not streamed.
---
--- C: none
---@return libevent.HttpRequest req
function HttpRequest:pause() end

--- Goes on with a body.
--- Raises if it is not streamed.
---
--- C: none
---@return libevent.HttpRequest req
function HttpRequest:resume() end

--- Adds a field to the answer's head.
---
--- Content-Length is the body's, and Date and Content-Type are added if they
--- are not there. "Connection: close" ends the connection after the answer.
--- Raises as `libevent.httpheaders` says, when the answer has begun, and for a
--- client's.
---
--- C: `evhttp_add_header`
---@param name string
---@param value string|number
---@return libevent.HttpRequest req
function HttpRequest:add_header(name, value) end

--- Takes all fields of that name that were added away, and tells whether there
--- was one.
---
--- C: `evhttp_remove_header`
---@param name string in any case
---@return boolean was
function HttpRequest:remove_header(name) end

--- Takes away all fields that were added.
---
--- C: `evhttp_clear_headers`
---@return libevent.HttpRequest req
function HttpRequest:clear_headers() end

--- Answers. To HEAD, and with the statuses 204 and 304, the body is not sent;
--- HEAD is told its length.
---
--- nil if the client is gone, or the file cannot be read.
--- Raises if it is answered already, and for a Content-Length that is not the
--- body's.
---
--- C: `evhttp_send_reply`
---@param status integer 200 to 599
---@param reason? string without control characters; the usual words if nil
---@param body? libevent.httpbody
---@param headers? libevent.httpheaders
---@return libevent.HttpRequest|nil req
---@return string? message
---@return integer? errno
function HttpRequest:send_reply(status, reason, body, headers) end

--- Answers with a small page that says what is wrong. Headers that were added
--- before are sent with it.
---
--- C: `evhttp_send_error`
---@param status integer 300 to 599
---@param reason? string the usual words if nil
---@return libevent.HttpRequest|nil req
---@return string? message
---@return integer? errno
function HttpRequest:send_error(status, reason) end

--- Begins an answer, whose body follows in pieces: in chunks, or as it is if
--- there is a Content-Length among the headers. To a client of HTTP/1.0 a body
--- without that ends with the connection.
---
--- C: `evhttp_send_reply_start`
---@param status integer 200 to 599
---@param reason? string the usual words if nil
---@param headers? libevent.httpheaders
---@return libevent.HttpRequest|nil req
---@return string? message
---@return integer? errno
function HttpRequest:send_reply_start(status, reason, headers) end

--- Sends a piece of the body. It is taken, however much is still to be sent: to
--- be no faster than the client, send the next piece in `cb`, which is called
--- when this one and all before it have been handed to the kernel; not if the
--- client goes before that.
--- Raises if it is more than the Content-Length, and before the start of the
--- answer and after its end.
---
--- C: `evhttp_send_reply_chunk`, `evhttp_send_reply_chunk_with_cb`
---@param data libevent.data
---@param cb? fun(req: libevent.HttpRequest)
---@return libevent.HttpRequest|nil req
---@return string? message
---@return integer? errno
function HttpRequest:send_reply_chunk(data, cb) end

--- Ends the answer.
--- Raises if bytes of its Content-Length are missing.
---
--- C: `evhttp_send_reply_end`
---@param trailers? libevent.httpheaders fields after a body in chunks
---@return libevent.HttpRequest|nil req
---@return string? message
---@return integer? errno
function HttpRequest:send_reply_end(trailers) end

--- Sends a piece of a client's body, from its `stream` function on, as
--- `send_reply_chunk` does. A server may answer before it has all of it: then
--- this is nil, "Connection reset by peer" and ECONNRESET.
--- Raises before that function is called, after `send_end`, and for more than
--- the Content-Length.
---
--- C: none
---@param data libevent.data
---@param cb? fun(req: libevent.HttpRequest)
---@return libevent.HttpRequest|nil req
---@return string? message
---@return integer? errno
function HttpRequest:send_chunk(data, cb) end

--- Ends it.
---
--- C: none
---@param trailers? libevent.httpheaders
---@return libevent.HttpRequest|nil req
---@return string? message
---@return integer? errno
function HttpRequest:send_end(trailers) end

--- Sets a function that is called when all of the answer has been handed to the
--- kernel; not if the client goes before that.
--- Raises after the answer's end, and for a client's.
---
--- C: `evhttp_request_set_on_complete_cb`
---@param cb? fun(req: libevent.HttpRequest)
---@return libevent.HttpRequest req
function HttpRequest:set_on_complete_cb(cb) end

--- Ends HTTP on the connection, which is the script's from now on, with what
--- has come already in its input: a Bufferevent without callbacks and timeouts,
--- not yet reading. A server answers 101 with the protocol, or 200 without one,
--- as CONNECT wants it; what was asked for in the header Upgrade is for the
--- script to look at. A client may, in the callback of a request that was
--- answered 101, or of a CONNECT that succeeded; the arguments are a server's.
--- To the server it is gone: `stop` does not wait for it.
--- Raises while a body is still to come, and for any other answer.
---
--- C: `evhttp_connection_get_bufferevent`
---@param protocol? string "websocket"
---@param headers? libevent.httpheaders
---@return libevent.Bufferevent|nil conn
---@return string? message
---@return integer? errno
function HttpRequest:upgrade(protocol, headers) end

--- Sets a function that is told when a server's client goes before its answer
--- is complete; `what` is
--- * "eof": it has closed its side. If all of the request is there it may still
---   read, and be answered;
--- * "timeout" or "error": it is gone, or has been answered an error, as its
---   body took too long, was too long (EMSGSIZE) or was not right (EPROTO);
---   `message` and `errno` tell more.
---
--- Raises for a client's.
---
--- C: `evhttp_connection_set_closecb`
---@param cb? libevent.httpclosecb
---@return libevent.HttpRequest req
function HttpRequest:set_closecb(cb) end

--- Of a server: closes the connection without an answer, or in the middle of
--- one. Of a client: cancels the request; no callback of it is called any more,
--- and if it was in flight its connection is closed. When it is over this does
--- nothing.
---
--- C: `evhttp_cancel_request`
---@return libevent.HttpRequest req
function HttpRequest:close() end

--- A client's connection to one host. It connects when there is something to
--- ask, asks one request after the other, and stays connected for more. While
--- a request waits or is in flight it stays alive by itself and keeps the loop
--- running; between requests nothing of it is in the loop.
---@class libevent.HttpConnection
local HttpConnection = {}

--- Makes one; nothing happens before `make_request`.
---
--- C: `evhttp_connection_base_new`
---@param host string a name, an IP address, or "unix:/path"
---@param port? integer 1 to 65535; nil for a path
---@param options? libevent.HttpConnectionOptions
---@return libevent.HttpConnection conn
function Base:http_connection(host, port, options) end

--- Asks for something, when those that were asked before it are answered.
---
--- The callback is called once, from the loop, never inside this call: with the
--- request, when all of the answer is there, whatever its status; or with nil,
--- a message and an errno: it could not be connected to, or the connection
--- ended before the answer did (ECONNRESET), the time is over (ETIMEDOUT), the
--- answer is no HTTP (EPROTO) or too long (EMSGSIZE).
---
--- A server may have closed a connection that had nothing to do. A request that
--- finds that out is sent once more by a new one, if that does no harm: GET,
--- HEAD, PUT, DELETE, OPTIONS, TRACE, without a body that is moved or streamed.
---
--- Redirections are answers like others. Answers 1xx are left out, but 101.
--- Raises for a method that is no token of HTTP or has more than 23 bytes, for
--- a target with spaces or other bytes that must be encoded, and for both
--- `body` and `stream`.
---
--- C: `evhttp_make_request`, `evhttp_request_new`
---@param method string "GET"
---@param uri string the target: "/path?query"
---@param options libevent.HttpRequestOptions|nil
---@param cb libevent.httpdonecb
---@return libevent.HttpRequest req
function HttpConnection:make_request(method, uri, options, cb) end

--- The address that it is connected to; nil if it is not.
---
--- C: `evhttp_connection_get_peer`, `evhttp_connection_get_addr`
---@return libevent.address|nil address
---@return string? message
---@return integer? errno
function HttpConnection:peername() end

--- What is known of TLS on its connection; nil while there is none, and without
--- TLS.
---
--- C: `bufferevent_openssl_get_ssl`
---@return libevent.tls.Session|nil session
function HttpConnection:tls() end

--- The base that it is on.
---
--- C: `evhttp_connection_get_base`
---@return libevent.Base base
function HttpConnection:base() end

--- Ends it. No callback of its requests is called any more.
---
--- C: `evhttp_connection_free`
---@return libevent.HttpConnection conn
function HttpConnection:close() end

--- TLS, by OpenSSL: `require "libevent.tls"`, a module of its own, so that the
--- rest needs no OpenSSL. It makes contexts; what they are for is in the core:
--- the options `tls`, and `bev:starttls`.
---@class libevent.tls
local tls = {}

--- Makes a context. See its options for what raises.
---
--- C: `SSL_CTX_new`
---@param options? libevent.tls.Options
---@return libevent.tls.Context context
function tls.context(options) end

--- The version of OpenSSL: "OpenSSL 3.0.15 3 Sep 2024".
---
--- C: `OpenSSL_version`
---@return string version
function tls.version() end

--- What connections of one kind have in common: whom they trust, what they show
--- to be trusted, and how they encrypt. One is enough for any number of them,
--- and of bases. Connections keep what they need of it.
---@class libevent.tls.Context
local Context = {}

--- Reads its files again, for connections from now on; those that there are go
--- on. Tickets that a server gave before hold; a client forgets its own. nil
--- and a message if something is wrong with them: then all is as it was.
--- Raises for one with `ssl_ctx`.
---
--- C: none
---@return libevent.tls.Context|nil context
---@return string? message
function Context:reload() end

--- A coroutine that the loop of a base runs: see libevent.co. It runs until it
--- waits; it is kept until it has ended, whoever holds it.
---
--- An error in it goes to whoever joins it. If nobody can any more, as nobody
--- has the task, or if `co.run` ends, it goes where errors of callbacks go. A
--- string has the task's traceback then.
---@class libevent.Task
local Task = {}

--- Waits until the task has ended; in a task. Returns what its function has
--- returned, each time again; nil and "cancelled"; or nil and "timeout" after
--- so many seconds, while it goes on.
--- Raises the error that it has failed with, and if a task joins itself.
---
--- C: none
---@param timeout? libevent.seconds none if nil
---@return any ...
function Task:join(timeout) end

--- Ends the task: it raises where it waits, and in each wait to come, until it
--- has ended; its variables are closed. What it has waited for is as if it had
--- not. One that has not begun never does. A task that cancels itself raises at
--- once. Also `__close`.
---
--- C: none
---@return libevent.Task task
function Task:cancel() end

--- "waiting", also for its turn; "running"; "done"; "failed"; "cancelled".
---
--- C: none
---@return "waiting"|"running"|"done"|"failed"|"cancelled" status
function Task:status() end

--- Where it waits, or where it has failed; "" if it is over otherwise.
---
--- C: none
---@return string traceback
function Task:traceback() end

--- The name that it was given.
---
--- C: none
---@return string|nil name
function Task:name() end

--- Gives it a name, for messages.
---
--- C: none
---@param name? string
---@return libevent.Task task
function Task:set_name(name) end

--- A bufferevent for tasks: a stream of bytes, read and written in straight
--- lines. It comes from libevent.co.
---
--- What has come stays until it is read: a call that returns nil has taken
--- nothing. While nobody reads, up to 64 KiB are taken from the peer, and more
--- when it has been read. One task reads at a time, and one writes. Calls that
--- wait return nil and
--- * "eof": the peer has ended its data;
--- * "timeout": see `set_timeout`; the stream is as before;
--- * "closed": it was closed here, perhaps meanwhile;
--- * "busy": another task waits in this direction;
--- * the message and errno of an error, of the system's or of TLS.
---
--- Who drops a stream has closed it. A task that waits for one holds it.
---@class libevent.Stream
local Stream = {}

--- Reads, in a format of Lua's files:
--- * a number: so many bytes; fewer at the end of the data;
--- * "l": a line, without its end, "\n" or "\r\n"; "L": with that. What is left
---   at the end of the data is a line, too;
--- * "a": all up to the end of the data, so "" at the end.
---
--- nil and "line too long", or "too long", for more than `max` bytes, which
--- stay: close the stream then.
---
--- C: `bufferevent_read`, `evbuffer_readln`
---@param format? integer|"l"|"L"|"a" "l" if nil
---@param max? integer of a line, 65536 if nil; of "a", no limit if nil
---@return string|nil data
---@return string? message
---@return integer? errno
function Stream:read(format, max) end

--- Reads what has come, and waits until something has.
---
--- C: `bufferevent_read`
---@param max? integer bytes, from 1; all if nil
---@return string|nil data
---@return string? message
---@return integer? errno
function Stream:read_some(max) end

--- Reads all before a delimiter, and takes that, too. nil and "eof" if it does
--- not come: what has stays. nil and "too long" for more than `max` bytes.
---
--- C: `evbuffer_search`
---@param delimiter string
---@param max? integer 65536 if nil
---@return string|nil data
---@return string? message
---@return integer? errno
function Stream:read_until(delimiter, max) end

--- `for line in stream:lines() do` reads lines until one read returns nil:
--- another one then tells why.
---
--- C: none
---@param max? integer of a line, 65536 if nil
---@return fun(stream: libevent.Stream): string|nil iterator
---@return libevent.Stream stream
function Stream:lines(max) end

--- The same for what `read_some` reads. For large pieces a loop of `read_some`
--- is faster: this one's variable keeps each piece while the next one is waited
--- for.
---
--- C: none
---@param max? integer bytes of a piece; all if nil
---@return fun(stream: libevent.Stream): string|nil iterator
---@return libevent.Stream stream
function Stream:chunks(max) end

--- Writes. If the peer takes it too slowly, so that more than 64 KiB are left,
--- it waits until 16 KiB are; else it does not wait, and can be called in a
--- callback, too. At a timeout the data are written all the same. An error of
--- sending is told by the next call.
--- Raises after `shutdown`.
---
--- C: `bufferevent_write`
---@param ... libevent.data
---@return libevent.Stream|nil stream
---@return string? message
---@return integer? errno
function Stream:write(...) end

--- Waits until all that is written has been given to the system.
---
--- C: none
---@return libevent.Stream|nil stream
---@return string? message
---@return integer? errno
function Stream:flush() end

--- Ends the data for the peer, when all is sent; reading goes on.
---
--- C: `shutdown`
---@return libevent.Stream|nil stream
---@return string? message
---@return integer? errno
function Stream:shutdown() end

--- Begins with TLS, as `bev:starttls` does, and waits for the handshake.
---
--- C: `bufferevent_openssl_filter_new`
---@param context libevent.tls.Context
---@param hostname? string|false a client's: as for `base:bufferevent`
---@return libevent.Stream|nil stream
---@return string? message
---@return integer? errno
function Stream:starttls(context, hostname) end

--- What is known of TLS; nil without it.
---
--- C: `bufferevent_openssl_get_ssl`
---@return libevent.tls.Session|nil session
function Stream:tls() end

--- The address of the other end.
---
--- C: `getpeername`
---@return libevent.address|nil address
---@return string? message
---@return integer? errno
function Stream:peername() end

--- The address of this end.
---
--- C: `getsockname`
---@return libevent.address|nil address
---@return string? message
---@return integer? errno
function Stream:sockname() end

--- The descriptor; nil if there is none.
---
--- C: `bufferevent_getfd`
---@return integer|nil fd
---@return string? message
function Stream:getfd() end

--- Sets how long each call may wait; "timeout" then.
---
--- C: none
---@param seconds? libevent.seconds none if nil
---@return libevent.Stream stream
function Stream:set_timeout(seconds) end

--- The bufferevent: for its options, its limits, its addresses. It is read,
--- written and called by the stream alone: that raises.
---
--- C: none
---@return libevent.Bufferevent bev
function Stream:bufferevent() end

--- Gives the bufferevent back to the script, with all that is in it and no
--- callbacks, not reading; the stream is closed.
---
--- C: none
---@return libevent.Bufferevent|nil bev nil while a task waits
---@return string? message
---@return integer? errno
function Stream:detach() end

--- Ends the stream: who waits for it gets nil and "closed". What is written is
--- still sent, as by `bev:close_after_flush`. Also `__close` and `__gc`.
---
--- C: `bufferevent_free`
---@return libevent.Stream stream
function Stream:close() end

return libevent
