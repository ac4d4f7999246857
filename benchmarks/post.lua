-- For wrk: posts a JPEG as a form, each time another file: a comment inside counts. `-- PICTURE [TOKEN]`
-- Says at the end, on one line: answers, answers other than 200, requests that failed, seconds, median and
-- 99th percentile in milliseconds.

-- As long as curl, browsers and Python's requests write it: a short one takes longer to look for.
local boundary = "------------------------6f1d0c8e2b7a4593d8e1f0"
local head, tail, token, count = nil, nil, "", 0
other = 0  -- global, so that done() can ask for it
local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  local file = io.open(args[1], "rb")
  local jpeg = file:read("*a")
  file:close()
  head = "--" .. boundary .. "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"xray.jpg\"\r\n"
    .. "Content-Type: image/jpeg\r\n\r\n" .. jpeg:sub(1, 2)
  tail = jpeg:sub(3) .. "\r\n--" .. boundary .. "--\r\n"
  token = args[2] or ""
  math.randomseed(os.time())
end

function request()
  count = count + 1
  local words = string.format("%d %d", count, math.random(2 ^ 30))
  local comment = "\255\254" .. string.char(0, #words + 2) .. words
  local headers = { ["Content-Type"] = "multipart/form-data; boundary=" .. boundary }
  if token ~= "" then
    headers["Authorization"] = "Bearer " .. token
  end
  return wrk.format("POST", "/predict", headers, head .. comment .. tail)
end

function response(status)
  if status ~= 200 then
    other = other + 1
  end
end

function done(summary, latency)
  local not_200 = 0
  for _, thread in ipairs(threads) do
    not_200 = not_200 + thread:get("other")
  end
  local errors = summary.errors
  print(string.format("RESULT %d %d %d %f %f %f", summary.requests, not_200,
    errors.connect + errors.read + errors.write + errors.timeout, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
