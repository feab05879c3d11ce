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
  ["bufferevent_direct.c: handover"] = lack,
  ["bufferevent_direct.c: levL_clear"] = race,
  ["bufferevent_direct.c: levL_pushpiece"] = race,
  ["bufferevent_direct.c: receiveinto"] = lack,
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
  ["bufferevent_sock.c: levL_linger"] = {
    "a peer that goes on sending for the 30 seconds of its grace"},
  ["bufferevent_sock.c: lev_bufferevent_detach"] = race,
  ["bufferevent_sock.c: isonsocket"] = {"an event_base that is not there"},
  ["bufferevent_hostname.c: win"] = lack,
  ["bufferevent_hostname.c: onattempt"] = system,
  ["bufferevent_hostname.c: try"] = system,
  ["bufferevent_hostname.c: goon"] = lack,
  ["bufferevent_hostname.c: checkdns"] = never,
  ["bufferevent_sock.c: levL_takeconnected"] = lack,
  ["dns.c: isactive"] = never,
  ["dns.c: checkalive"] = race,
  ["dns.c: levL_adddomain"] = never,
  ["dns.c: levL_setdnsoption"] = never,
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
  ["listener.c: lualibevent_givelistener"] = lack,
  ["listener.c: removestale"] = system,
  ["listener.c: onretry"] = system,
  ["log.c: nameof"] = {"what libevent says in its debug build only"},
  ["object.c: anchor"] = {"anchored with its like", sometimes},
  ["object.c: levL_find"] = race,
  ["util.c: result"] = system,
  ["util.c: isnew"] = {"a name with two addresses", sometimes},
  ["util.c: refusename"] = {"a resolver without descriptors"},
  ["util.c: lev_secure_rng_bytes"] = {"a system without random bytes"},
  ["values.c: levL_refuse"] = system,
  ["values.c: fdof"] = {"a userdata without __index: Lua's own have one"},
  ["values.c: levL_addresstext"] = {"addresses of other families"},
  ["waker.c: closefds"] = {"for pipes, which an own host is built with"},
  ["waker.c: takewakes"] = {"for pipes, which an own host is built with"},
  ["waker.c: renew"] = system,
}
return reasons
