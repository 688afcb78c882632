-- Settles a lease, decides requests of one key in order, and gives a lease, all at one moment of the server's clock.
--
-- KEYS  log (ZSET of units), meta (HASH), registry (HASH)
-- ARGV  state, node, id of the key for messages, block (us, 0 none),
--       n, n x (limit, span us), k, k x (cost, mode), units wanted on lease, term us,
--       lease to settle (0 none), its units, spent stamps one a unit
-- mode  0 count, 1 reserve, 2 only look
-- Reply {0, now, blocked until, escrow, leased, lease's end, k x (status, window, remaining, reset us, retry us)}
--       {1, state} when this is not the Redis that the node knows
-- status 0 admitted, 1 exceeded, 2 blocked now, 3 blocked before, 4 full only of what is pending or set aside
local log, meta = KEYS[1], KEYS[2]
local call, number, format = redis.call, tonumber, string.format
local reg = call('HMGET', KEYS[3], 's', 'n', 'c')
if reg[1] ~= ARGV[1] then return {1, reg[1] or ''} end
local nodes, node, id = number(reg[2]), ARGV[2], ARGV[3]

-- Even stamps are the server's, odd ones are spent from leases: they never meet.
local time = call('TIME')
local now = number(time[1]) * 1000000 + number(time[2])
now = now - now % 2
-- The registry knows a time that the clock has reached: only before it can there be units of the future.
local newest = 0
if now <= number(reg[3] or 0) then
  newest = number(call('ZREVRANGE', log, 0, 0, 'WITHSCORES')[2] or 0)
  if newest > now + 2000000 then
    -- The clock went back: the whole log with it, so that its newest unit is as young as can be.
    local back, units = newest - now, call('ZRANGE', log, 0, -1, 'WITHSCORES')
    call('DEL', log)
    for i = 1, #units, 2 do call('ZADD', log, number(units[i + 1]) - back, units[i] .. '~') end
    newest = now
  end
end

local block, n = number(ARGV[4]), number(ARGV[5])
local limits, spans, at = {}, {}, 6
for i = 1, n do
  limits[i], spans[i] = number(ARGV[at]), number(ARGV[at + 1])
  at = at + 2
end
local longest = spans[n]
local first, k = at + 1, number(ARGV[at])
at = first + 2 * k
local want, term, settled = number(ARGV[at]), number(ARGV[at + 1]), ARGV[at + 2]

local added = false
if settled ~= '0' then
  local gone, spent, prefix = {}, {}, 'L' .. node .. ':' .. settled .. ':'
  for i = 0, number(ARGV[at + 3]) - 1 do gone[i + 1] = prefix .. i end
  if #gone > 0 then call('ZREM', log, unpack(gone)) end
  local last, same = '', 0
  for i = at + 4, #ARGV do
    same = ARGV[i] == last and same + 1 or 0
    last = ARGV[i]
    spent[#spent + 1] = last
    spent[#spent + 1] = last .. ':' .. node .. ':' .. same
  end
  if #spent > 0 then call('ZADD', log, unpack(spent)) end
  added = true
end

local eldest = call('ZRANGE', log, 0, 0, 'WITHSCORES')[2]
if eldest and number(eldest) <= now - longest then
  call('ZREMRANGEBYSCORE', log, '-inf', now - longest)
  eldest = call('ZRANGE', log, 0, 0, 'WITHSCORES')[2]
end
-- No two of a node's decisions have one stamp, so that each unit has a name of its own.
local name = format('%.0f', now) .. ':' .. node .. ':'
if newest >= now then
  while call('ZSCORE', log, name .. '0') or call('ZSCORE', log, 'p' .. name .. '0') do
    now = now + 2
    name = format('%.0f', now) .. ':' .. node .. ':'
  end
end
local counts = {}
for i = 1, n - 1 do counts[i] = call('ZCOUNT', log, '(' .. format('%.0f', now - spans[i]), '+inf') end
counts[n] = eldest and call('ZCARD', log) or 0

local m = call('HMGET', meta, 'b', 'e', 'p', 't')
local blocked, escrow, pending, touched = number(m[1] or 0), m[2], m[3], number(m[4] or 0)
local change = {}
if touched > now + 2000000 then
  if blocked > 0 then
    blocked = blocked - (touched - now)
    change = {'b', format('%.0f', blocked)}
  end
  touched = 0
end

local units, written = {}, 0
local function write()
  if #units > 0 then
    call('ZADD', log, unpack(units))
    units, added = {}, true
  end
end

-- Until a window has room for c units, and whether a unit in it is pending, or set aside at another node that may yet
-- give it back.
local function wait(i, c)
  write()
  if c > limits[i] then return spans[i], false end
  local full = call('ZREVRANGE', log, limits[i] - c, limits[i] - c, 'WITHSCORES')[2]
  local over = full and number(full) + spans[i] - now or 0
  if over > 0 then
    for _, unit in ipairs(call('ZRANGEBYSCORE', log, '(' .. format('%.0f', now), '+inf')) do
      if string.sub(unit, 1, 1) == 'L' then return over, true end
    end
  end
  if over > 0 and pending then
    -- What is pending for a minute will not be settled any more.
    local since = now - math.min(spans[i], 60000000)
    for _, unit in ipairs(call('ZRANGEBYSCORE', log, '(' .. format('%.0f', since), '+inf')) do
      if string.sub(unit, 1, 1) == 'p' then return over, true end
    end
  end
  return over, false
end

local reply = {0, now, 0, 0, 0, 0}
for r = 0, k - 1 do
  local c, mode = number(ARGV[first + 2 * r]), ARGV[first + 2 * r + 1]
  local status, window, least, retry, soft = 0, 1, nil, 0, true
  for i = 1, n do
    local room = limits[i] - counts[i]
    if room < c then status = 1 end
    if not least or room < least then least, window = room, i end
  end
  if status == 1 then
    for i = 1, n do
      if limits[i] - counts[i] < c then
        local over, is_soft = wait(i, c)
        -- What is pending or set aside is settled soon.
        if is_soft then over = math.min(over, 1000000) else soft = false end
        if over > retry then retry, window = over, i end
      end
    end
    if blocked > now then
      status, retry = 3, math.max(retry, blocked - now)
    elseif block > 0 and not soft and mode ~= '2' then
      status, blocked = 2, now + block
      retry = math.max(retry, block)
      change[#change + 1], change[#change + 2] = 'b', format('%.0f', blocked)
      call('PUBLISH', 'phl:channel', 'b' .. id .. format('%.0f', blocked))
    elseif soft then
      status = 4
    end
  elseif blocked > now then
    status, retry = 3, blocked - now
  elseif mode ~= '2' then
    local mark = mode == '1' and 'p' or ''
    if mode == '1' and not pending then
      pending = '1'
      change[#change + 1], change[#change + 2] = 'p', '1'
    end
    for i = 1, c do
      units[#units + 1] = now
      units[#units + 1] = mark .. name .. written
      written = written + 1
    end
    for i = 1, n do counts[i] = counts[i] + c end
    if #units > 1000 then write() end
  end
  local p = 7 + 5 * r
  reply[p], reply[p + 1], reply[p + 2], reply[p + 3], reply[p + 4] =
    status, window - 1, math.max(limits[window] - counts[window], 0), 0, retry
end
write()

local room = limits[1] - counts[1]
for i = 2, n do room = math.min(room, limits[i] - counts[i]) end
room = math.max(room, 0)
-- No lease for who will soon be at the limit: what one node has set aside would then be missing at another.
local recent = want > 0 and room >= 128 and call('ZCOUNT', log, '(' .. format('%.0f', now - term), '+inf')
if recent and blocked <= now and room >= 4 * recent then
  local batch, stop = math.min(want, math.floor(room / 64), 256), now + term
  if batch > 1 then
    local leased, prefix = {}, 'L' .. node .. ':' .. format('%.0f', now) .. ':'
    for i = 0, batch - 1 do
      leased[#leased + 1] = stop
      leased[#leased + 1] = prefix .. i
    end
    call('ZADD', log, unpack(leased))
    room, added = room - batch, true
    reply[5], reply[6] = batch, stop
  end
end

-- When a window has more room than now: when its oldest unit leaves it.
local resets = {}
for r = 0, k - 1 do
  local p = 7 + 5 * r
  local i = reply[p + 1] + 1
  if not resets[i] then
    local oldest
    if i == n then
      oldest = eldest or counts[n] > 0 and now or nil
    else
      oldest = call('ZRANGEBYSCORE', log, '(' .. format('%.0f', now - spans[i]), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]
    end
    resets[i] = oldest and number(oldest) + spans[i] - now or 0
  end
  reply[p + 3] = resets[i]
end

-- What each node may admit without asking when this server is lost: together never more than the room.
-- A node that is alone may use all of it; 'a' says that it was told so.
local told
if nodes <= 1 then
  told = room
  if escrow ~= 'a' then change[#change + 1], change[#change + 2] = 'e', 'a' end
else
  local fair, out = math.floor(room / (2 * nodes)), escrow == 'a' and room + 1 or number(escrow or 0)
  told = out
  if out * nodes > room then
    told = fair
    call('PUBLISH', 'phl:channel', 'e' .. id .. fair)
  elseif fair * 2 > out * 3 then
    told = fair
  end
  if told ~= out or escrow == 'a' then change[#change + 1], change[#change + 2] = 'e', told end
end
reply[3], reply[4] = blocked > now and blocked or 0, told

if added then call('PEXPIRE', log, math.ceil(longest / 1000) + 1000) end
if #change > 0 or (escrow and touched + longest < now) then
  change[#change + 1], change[#change + 2] = 't', format('%.0f', now)
  call('HSET', meta, unpack(change))
  call('PEXPIRE', meta, math.ceil(math.max(2 * longest, blocked - now) / 1000) + 1000)
end
return reply
