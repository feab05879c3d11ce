--- libevent.httpdate: dates as HTTP writes them.

local http = require "libevent.http"
local libevent = require "libevent"
local t = require "spec.helper"

local NOW = 1700000000                        -- 14 November 2023
local YEAR0, YEAR10000 = -62167219200, 253402300800

describe("http.date", function()
  it("writes the same as libevent", function()
    math.randomseed(1)
    assert.equal("Sun, 06 Nov 1994 08:49:37 GMT", http.date(784111777))
    for _, time in ipairs {0, -1, 0.999, -0.001, 951782400, 951868799,
                           951868800, 4107542400, YEAR0, YEAR10000 - 1} do
      assert.equal(libevent.date_rfc1123(time), http.date(time))
    end
    for _ = 1, 5000 // t.slow do
      local time = math.random(YEAR0, YEAR10000 - 1)
      assert.equal(libevent.date_rfc1123(time), http.date(time))
    end
  end)

  it("writes the time that it is, without an argument", function()
    local before, date, after = os.time(), http.date(), os.time()
    assert.is_true(date == http.date(before) or date == http.date(after))
    assert.equal(29, #http.date(nil))
  end)

  it("raises for other years, and for what is no time", function()
    for bad, got in pairs {[YEAR10000] = YEAR10000, [YEAR0 - 1] = YEAR0 - 1,
                           [1/0] = "inf", [-1/0] = "-inf",
                           [math.maxinteger] = math.maxinteger,
                           ["0"] = "string", [true] = "boolean"} do
      t.raises("bad argument #1 to 'date' (time of the years 0 to 9999 "
               .. "expected, got " .. got .. ")", http.date, bad)
    end
    t.raises("time of the years 0 to 9999 expected", http.date, 0/0)
  end)
end)

describe("http.parse_date", function()
  for text, time in pairs {
    ["Sun, 06 Nov 1994 08:49:37 GMT"] = 784111777,
    ["Sunday, 06-Nov-94 08:49:37 GMT"] = 784111777,
    ["Sun Nov  6 08:49:37 1994"] = 784111777,
    ["Sun Nov 06 08:49:37 1994"] = 784111777,
    ["Wed Nov 16 08:49:37 1994"] = 784975777,
    ["Thu, 01 Jan 1970 00:00:00 GMT"] = 0,
    ["Tue, 29 Feb 2000 23:59:59 GMT"] = 951868799,
    ["Sat, 31 Dec 2016 23:59:60 GMT"] = 1483228800,
    ["Sat, 01 Jan 0000 00:00:00 GMT"] = YEAR0,
    ["Fri, 31 Dec 9999 23:59:59 GMT"] = YEAR10000 - 1,
  } do
    it("reads " .. text, function()
      assert.equal(time, http.parse_date(text, NOW))
      assert.equal("integer", math.type(http.parse_date(text)))
    end)
  end

  it("reads what http.date writes, and the old forms of it", function()
    math.randomseed(2)
    local DAYS = {Mon = "Monday", Tue = "Tuesday", Wed = "Wednesday",
                  Thu = "Thursday", Fri = "Friday", Sat = "Saturday",
                  Sun = "Sunday"}
    for _ = 1, 5000 // t.slow do
      local time = math.random(YEAR0, YEAR10000 - 1)
      local date = http.date(time)
      assert.equal(time, http.parse_date(date))
      local name, day, month, year, clock =
        date:match "^(%a+), (%d+) (%a+) (%d+) (%S+) GMT$"
      local asctime = ("%s %s %2d %s %s"):format(name, month, tonumber(day),
                                                 clock, year)
      assert.equal(time, http.parse_date(asctime))
      local old = ("%s, %s-%s-%s %s GMT"):format(DAYS[name], day, month,
                                                 year:sub(3), clock)
      local now = time + math.random(-50 * 365, 49 * 365) * 86400
      now = math.min(math.max(now, YEAR0), YEAR10000 - 1)
      assert.equal(time, http.parse_date(old, now), old)
    end
  end)

  it("takes two digits for a year at most 50 years ahead", function()
    -- 50 years after NOW it is the same second of 14 November 2073.
    assert.equal(3277923200, http.parse_date("Tuesday, 14-Nov-73 22:13:20 GMT",
                                             NOW))
    assert.equal(122163201, http.parse_date("Wednesday, 14-Nov-73 22:13:21 GMT",
                                            NOW))
    assert.is_nil(http.parse_date("Tuesday, 14-Nov-73 22:13:21 GMT", NOW))
    -- 2000 had a leap day; 2100, which it is in 50 years' sight of, has none.
    assert.equal(951782400, http.parse_date("Tuesday, 29-Feb-00 00:00:00 GMT",
                                            NOW))
    assert.is_nil(http.parse_date("Monday, 29-Feb-00 00:00:00 GMT",
                                  NOW + 50 * 366 * 86400))
  end)

  it("knows no year before 0", function()
    assert.is_nil(http.parse_date("Friday, 31-Dec-99 00:00:00 GMT", YEAR0))
    assert.equal(YEAR0, http.parse_date("Saturday, 01-Jan-00 00:00:00 GMT",
                                        YEAR0))
  end)

  for _, text in ipairs {
    "", " ", "now", "0", "784111777",
    "Mon, 06 Nov 1994 08:49:37 GMT",          -- it was a Sunday
    "Monday, 06-Nov-94 08:49:37 GMT", "Mon Nov  6 08:49:37 1994",
    "sun, 06 Nov 1994 08:49:37 GMT", "SUN, 06 NOV 1994 08:49:37 GMT",
    "Sunday, 06 Nov 1994 08:49:37 GMT", "Sun, 06-Nov-94 08:49:37 GMT",
    "Sunday Nov  6 08:49:37 1994", "Sun, 06-Nov-1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 UTC",
    "Sun, 06 Nov 1994 08:49:37 +0000", "Sun, 06 Nov 1994 08:49:37 gmt",
    "06 Nov 1994 08:49:37 GMT", "Sun, 6 Nov 1994 08:49:37 GMT",
    "Sun,  6 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 94 08:49:37 GMT",
    "Sun, 06 Nov 1994 8:49:37 GMT", "Sun, 06 Nov 1994 08:49 GMT",
    "Sun, 06 Nov 1994  08:49:37 GMT", " Sun, 06 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 08:49:37 GMT ", "Sun, 06 Nov 1994 08:49:37 GMT\0",
    "Sun, 06 Nov 1994 24:00:00 GMT", "Sun, 06 Nov 1994 08:60:37 GMT",
    "Sun, 06 Nov 1994 08:49:61 GMT", "Sun, 00 Nov 1994 08:49:37 GMT",
    "Thu, 31 Nov 1994 08:49:37 GMT", "Thu, 32 Dec 1994 08:49:37 GMT",
    "Wed, 29 Feb 1995 00:00:00 GMT", "Thu, 29 Feb 1900 00:00:00 GMT",
    "Fri, 30 Feb 1996 00:00:00 GMT", "Sun, 06 Nob 1994 08:49:37 GMT",
    "Sun Nov 6 08:49:37 1994", "Sun Nov   6 08:49:37 1994",
    "Sun Nov  0 08:49:37 1994", "Sun Nov  6 08:49:37 1994 GMT",
    "Sun, -6 Nov 1994 08:49:37 GMT", "Sun, 06 Nov -994 08:49:37 GMT",
    "Fri, 31 Dec 9999 23:59:60 GMT",          -- the year 10000
    "1994-11-06T08:49:37Z", "Sun, 06 Nov 1994 08:49:37 GMT; length=3",
  } do
    it(("returns nil for %q"):format(text), function()
      assert.same({nil}, {http.parse_date(text, NOW)})
    end)
  end

  it("returns nil for a header that is not there", function()
    assert.is_nil(http.parse_date(nil))
  end)

  it("knows no locale and no time zone", function()
    local path = t.write [[
      local http = require "libevent.http"
      print(http.parse_date "Sun, 06 Nov 1994 08:49:37 GMT",
            http.date(784111777), os.date("%H", 784111777))
    ]]
    for zone, hour in pairs {UTC = "08", EST5EDT = "03", ["<+13>-13"] = "21"} do
      local pipe = io.popen(("TZ='%s' LC_ALL=C.utf8 %s %s"):format(zone,
        os.getenv "LUA" or "lua5.4", path))
      assert.equal("784111777\tSun, 06 Nov 1994 08:49:37 GMT\t" .. hour .. "\n",
                   pipe:read "a")
      pipe:close()
    end
    os.remove(path)
  end)

  it("raises for what is neither a string nor nil, and other nows", function()
    t.raises("bad argument #1 to 'parse_date' (string expected, got table)",
             http.parse_date, {})
    t.raises("bad argument #2 to 'parse_date' (time of the years 0 to 9999 "
             .. "expected, got inf)", http.parse_date, "", 1/0)
  end)

  it("needs time in proportion", function()
    local start = os.clock()
    for _, text in ipairs {"a", "0", " ", "Sun, ", "%"} do
      http.parse_date(text:rep(2^20 // t.slow))
    end
    assert.is_true(os.clock() - start < 10 * t.slow)
  end)
end)
