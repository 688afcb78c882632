-- Puts what one node admitted by itself into the log, and its block. Doing it twice changes nothing.
--
-- KEYS  log, meta
-- ARGV  node, life of the log ms, blocked until us, length of the block ms, units: stamp and 'p' if pending, else ''
-- Reply how many units are new
local log, node, added = KEYS[1], ARGV[1], 0
local last, same = '', 0
for i = 5, #ARGV, 2 do
  same = ARGV[i] == last and same + 1 or 0
  last = ARGV[i]
  local unit = last .. ':' .. node .. ':' .. same
  if ARGV[i + 1] == 'p' then
    if not redis.call('ZSCORE', log, unit) then added = added + redis.call('ZADD', log, last, 'p' .. unit) end
    redis.call('HSET', KEYS[2], 'p', '1')
  else
    added = added + redis.call('ZADD', log, last, unit) - redis.call('ZREM', log, 'p' .. unit)
  end
end
local function keep(key, ttl)
  local has = redis.call('PTTL', key)
  if has ~= -2 and has < ttl then redis.call('PEXPIRE', key, ttl) end
end
local stop, life = tonumber(ARGV[3]), tonumber(ARGV[2])
if stop > tonumber(redis.call('HGET', KEYS[2], 'b') or 0) then
  redis.call('HSET', KEYS[2], 'b', ARGV[3])
  life = math.max(life, tonumber(ARGV[4]))
end
keep(log, tonumber(ARGV[2]))
keep(KEYS[2], life)
return added
