-- Tells the registry that a node lives and how it stands, and asks for all others.
--
-- KEYS  registry (HASH), nodes (HASH of time:standing)
-- ARGV  node, standing ('-' to leave), us after which a silent node is dead, generation for a new registry, number of
--       resets, generation that the node knows ('' none), when it last heard that it lives (us, 0 never)
-- Reply {now, state, the node's sign of life before this one (us, 0 none), node, standing, ...}. The state is
--       '<generation>.<number of resets>'; the generation tells a Redis that lost what it held from the one before. One
--       that lost only the latest, because it came back from an older copy, no longer knows the node's last sign of life.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local state, resets = redis.call('HGET', KEYS[1], 's'), tonumber(ARGV[5])
local generation = ARGV[4]
if state then
  local of, known = string.match(state, '^(.*)%.(%d+)$')
  generation, resets = of, math.max(resets, tonumber(known))
end
state = generation .. '.' .. string.format('%.0f', resets)
local before, standing = string.match(redis.call('HGET', KEYS[2], ARGV[1]) or '', '^%d+') or '0', ARGV[2]
if standing == '-' then
  redis.call('HDEL', KEYS[2], ARGV[1])
else
  -- Others must not take a node to have told everything that is about to find out that it has not.
  if ARGV[6] ~= generation or tonumber(before) < tonumber(ARGV[7]) then standing = 'merging' end
  redis.call('HSET', KEYS[2], ARGV[1], string.format('%.0f', now) .. ':' .. standing)
end
local reply, count, all = {now, state, tonumber(before)}, 0, redis.call('HGETALL', KEYS[2])
for i = 1, #all, 2 do
  local seen, standing = string.match(all[i + 1], '^(%d+):(.*)$')
  local silent = math.abs(now - tonumber(seen))
  if silent > 600000000 then
    redis.call('HDEL', KEYS[2], all[i])
  elseif silent <= tonumber(ARGV[3]) then
    count = count + 1
    reply[#reply + 1], reply[#reply + 2] = all[i], standing
  end
end
-- The latest time that the clock ever showed: a clock that was set back is seen by it.
local clock = math.max(now, tonumber(redis.call('HGET', KEYS[1], 'c') or 0))
redis.call('HSET', KEYS[1], 's', state, 'n', math.max(count, 1), 'c', string.format('%.0f', clock))
redis.call('PEXPIRE', KEYS[1], 600000)
redis.call('PEXPIRE', KEYS[2], 600000)
return reply
