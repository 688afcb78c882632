-- Confirms (op 'c') or takes back (op 'r') the units of one decision.
--
-- KEYS  log, meta
-- ARGV  op, stamp, node, cost, id of the key for messages
-- Reply how many units were changed
local log, op, node, left = KEYS[1], ARGV[1], ARGV[3], tonumber(ARGV[4])
local changed = 0
for _, unit in ipairs(redis.call('ZRANGEBYSCORE', log, ARGV[2], ARGV[2])) do
  local mark, of = string.match(unit, '^(p?)%d+:(%x+):')
  if changed < left and of == node and (op == 'r' or mark == 'p') then
    redis.call('ZREM', log, unit)
    if op == 'c' then redis.call('ZADD', log, ARGV[2], string.sub(unit, 2)) end
    changed = changed + 1
  end
end
if op == 'r' and changed > 0 then redis.call('PUBLISH', 'phl:channel', 'u' .. ARGV[5]) end
return changed
