-- Blocks a key (op 'b'), ends its block ('l'), or forgets it ('r').
--
-- KEYS  log, meta
-- ARGV  op, id of the key for messages, length of the block us
-- Reply the server's clock in us
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local meta, op, id = KEYS[2], ARGV[1], ARGV[2]
if op == 'b' then
  local stop = math.max(now + tonumber(ARGV[3]), tonumber(redis.call('HGET', meta, 'b') or 0))
  redis.call('HSET', meta, 'b', string.format('%.0f', stop), 't', string.format('%.0f', now))
  local ttl = math.ceil((stop - now) / 1000) + 1000
  if redis.call('PTTL', meta) < ttl then redis.call('PEXPIRE', meta, ttl) end
  redis.call('PUBLISH', 'phl:channel', 'b' .. id .. string.format('%.0f', stop))
elseif op == 'l' then
  redis.call('HDEL', meta, 'b')
  redis.call('PUBLISH', 'phl:channel', 'l' .. id)
else
  redis.call('DEL', KEYS[1], meta)
  redis.call('PUBLISH', 'phl:channel', 'r' .. id)
end
return now
