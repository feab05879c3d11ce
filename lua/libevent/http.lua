--- libevent.http: what HTTP needs beside the engine in C, under one name.
---
---   local http = require "libevent.http"

local form = require "libevent.form"
local html = require "libevent.html"
local http_request = require "libevent.http_request"
local httpdate = require "libevent.httpdate"
local multipart = require "libevent.multipart"
local uri = require "libevent.uri"

---@class libevent.http
local http = {
  uri_parse = uri.uri_parse,
  uri_join = uri.uri_join,
  uri_resolve = uri.uri_resolve,
  remove_dot_segments = uri.remove_dot_segments,
  uriencode = uri.uriencode,
  uridecode = uri.uridecode,
  parse_query = form.parse_query,
  build_query = form.build_query,
  parse_form = form.parse_form,
  build_multipart = form.build_multipart,
  multipart = multipart.multipart,
  request = http_request.request,
  htmlescape = html.htmlescape,
  date = httpdate.date,
  parse_date = httpdate.parse_date,
}

return http
