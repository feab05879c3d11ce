--- Why lines of src/ are not run by the specs: by "file: function" or by the
--- line's own text. 'sometimes': what a busy machine runs, and another one not.

local race = {"a finalizer, or a callback, that changes just this just then"}
local never = {"cannot be so; the compiler, or a reader, must not wonder"}
local memory = {"moving takes no memory: libevent's promise is not relied on"}
local lack = {"a lack of memory in that one place"}
local system = {"a system call that does not fail so here"}
local sometimes = true

local reasons = {
  ["base.c: lackofdescriptors"] = system,
  ["base.c: never"] = {"a timer of eight years"},
  ["base.c: lualibevent_pushbase"] = {
    "a new event_base at the address of a freed one", sometimes},
  ["buffer.c: recheck"] = race,
  ["buffer.c: lev_buffer_add_buffer"] = memory,
  ["buffer.c: lev_buffer_prepend_buffer"] = memory,
  ["bufferevent.c: lev_bufferevent_read_buffer"] = memory,
  ["buffer_segment.c: addpart"] = memory,
  ["buffer_change.c: onevent"] = {"libevent's heap has room already"},
  ["buffer_change.c: pushchanges"] = race,
  ["buffer_segment.c: readbytes"] = system,
  ["bufferevent_call.c: tell"] = {
    "connected, and all sent, with nobody left who listens", sometimes},
  ["bufferevent_direct.c: levL_clear"] = race,
  ["bufferevent_direct.c: levL_pushpiece"] = race,
  ["bufferevent_direct.c: receiveinto"] = lack,
  ["bufferevent_direct.c: levL_peek"] = race,
  ["bufferevent_direct.c: levL_stagebytes"] = race,
  ["bufferevent_direct.c: unstage"] = {"a lack of memory in that one place",
    sometimes},
  ["bufferevent_filter.c: callfilter"] = race,
  ["bufferevent_filter.c: levL_detachfilter"] = race,
  ["bufferevent_filter.c: note"] = {
    "a filter that ends in its last word", sometimes},
  ["bufferevent_group.c: isactive"] = never,
  ["bufferevent_group.c: newgroup"] = {
    "a group whose timer is not found: another libevent"},
  ["bufferevent_pair.c: flushed"] = {"the turn of a pair sees first that all "
    .. "is sent"},
  ["bufferevent_pair.c: onmark"] = {"an event that is only looked at"},
  ["bufferevent_ratelim.c: newlimits"] = never,
  ["bufferevent_sock.c: note"] = {
    "setfd between two events of libevent's", sometimes},
  ["bufferevent_sock.c: flushed"] = {
    "a socket that is full at the last word of TLS", sometimes},
  ["bufferevent_sock.c: lev_bufferevent_connect"] = lack,
  ["bufferevent_tls.c: levL_tlsread"] = {
    "a limit that is used up, for which libevent waits itself", sometimes},
  ["bufferevent_tls.c: mosttotake"] = {
    "the same, with data that came with the handshake", sometimes},
  ["bufferevent_tls.c: sendwire"] = lack,
  ["bufferevent_sock.c: levL_linger"] = {
    "a peer that goes on sending for the 30 seconds of its grace"},
  ["bufferevent_sock.c: lev_bufferevent_detach"] = race,
  ["bufferevent_sock.c: isonsocket"] = {"an event_base that is not there"},
  ["bufferevent_hostname.c: goon"] = lack,
  ["dns.c: isactive"] = never,
  ["dns.c: checkalive"] = race,
  ["dns.c: levL_adddomain"] = never,
  ["dns.c: levL_setdnsoption"] = never,
  ["dns.c: levL_optiondns"] = never,
  ["dns.c: setoption"] = lack,
  ["dns.c: setoptions"] = {"an address that libevent reads in another way"},
  ["dns.c: lev_base_dns"] = {"a machine without a resolv.conf"},
  ["dns_files.c: pushfile"] = {
    "a file of 64 MiB, or one that goes between two calls"},
  ["dns_lookup.c: levL_endlookup"] = never,
  ["dns_lookup.c: levL_answered"] = lack,
  ["dns_question.c: levL_rewakedns"] = system,
  ["dns_question.c: levL_pumpdns"] = {"a Dns that is busy for half an hour"},
  ["dns_server.c: isactivequery"] = never,
  ["dns_server.c: callrequest"] = race,
  ["dns_server.c: opensocket"] = system,
  ["core.c: checkversion"] = {"another libevent at run time"},
  ["event.c: lualibevent_giveevent"] = system,
  ["event.c: onevent"] = {"closed between two calls for one signal", sometimes},
  ["http.c: freehttp"] = {
    "its connections are newer than it, and end first", sometimes},
  ["http_client.c: freeclient"] = {
    "its connection is newer than it, and ends first"},
  ["http_client.c: begin"] = lack,
  ["http_client.c: onhead"] = never,
  ["http_client.c: onevent"] = {
    "a server that resets a connection just as it is used again", sometimes},
  ["http_client.c: transmit"] = race,
  ["http_client.c: undo"] = {"closed and raised in one callback"},
  ["http_reply.c: give_up"] = {"a system call that fails in the PLAIN build"},
  ["http_reply.c: levL_replyerror"] = lack,
  ["http_reply.c: lev_httprequest_send_reply"] = race,
  ["http_reply.c: lev_httprequest_send_reply_end"] = lack,
  ["http_reply.c: lev_httprequest_send_reply_start"] = race,
  ["http_reply.c: lev_httprequest_upgrade"] = race,
  ["http_reply.c: pushconnection"] = race,
  ["http_reply.c: refuse"] = {
    "a client that resets just before it is handed over", sometimes},
  ["http_request.c: isactive"] = never,
  ["http_request.c: lev_httprequest_body"] = race,
  ["http_request.c: lev_httprequest_input_buffer"] = memory,
  ["http_request.c: levL_pushrequestcb"] = race,
  ["http_server.c: begin"] = race,
  ["http_server.c: levL_wind"] = lack,
  ["http_server.c: newrequest"] = race,
  ["http_server.c: oncut"] = race,
  ["http_server.c: ondone"] = race,
  ["http_server.c: wanted"] = lack,
  ["http_stream.c: collect"] = lack,
  ["http_stream.c: give"] = race,
  ["http_stream.c: levL_pace"] = lack,
  ["http_stream.c: levL_takehead"] = race,
  ["http_stream.c: levL_tellsent"] = race,
  ["http_stream.c: onevent"] = {"raised and gone in one callback"},
  ["http_stream.c: peek"] = lack,
  ["http_text.c: checkfield"] = never,
  ["http_text.c: field"] = race,
  ["http_text.c: grow"] = never,
  ["listener.c: lualibevent_givelistener"] = lack,
  ["listener.c: removestale"] = system,
  ["listener.c: onretry"] = system,
  ["log.c: nameof"] = {"what libevent says in its debug build only"},
  ["object.c: anchor"] = {"anchored with its like", sometimes},
  ["object.c: levL_find"] = {race[1], sometimes},
  ["object.c: pushknown"] = never,
  ["tls/describe.c: pushname"] = {"a certificate for a mail address"},
  ["tls/options.c: addname"] = never,
  ["tls/options.c: addprotocols"] = never,
  ["tls/options.c: nopassword"] = {"a certificate that is encrypted"},
  ["tls/options.c: setalpn"] = lack,
  ["tls/options.c: setkeylog"] = lack,
  ["tls/options.c: source"] = never,
  ["tls/options.c: takeforeign"] = never,
  ["tls/options.c: trust"] = lack,
  ["tls/options.c: usechain"] = lack,
  ["tls/session.c: initclient"] = {
    "names too long, which the bufferevent refuses; or a lack of memory"},
  ["tls/session.c: setname"] = never,
  ["util.c: result"] = system,
  ["util.c: isnew"] = {"a name with two addresses", sometimes},
  ["util.c: refusename"] = {"a resolver without descriptors"},
  ["util.c: lev_secure_rng_bytes"] = {"a system without random bytes"},
  ["values.c: levL_refuse"] = system,
  ["values.c: fdof"] = {"a userdata without __index: Lua's own have one"},
  ["waker.c: closefds"] = {"for pipes, which an own host is built with"},
  ["waker.c: takewakes"] = {"for pipes, which an own host is built with"},
  ["waker.c: renew"] = system,
}
return reasons
