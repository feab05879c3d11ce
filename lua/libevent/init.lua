--- libevent for Lua: the module that scripts require.

local libevent = require "libevent.core"

libevent.relay = require "libevent.relay"
libevent._VERSION = "lua-libevent 0.1.0"

return libevent
