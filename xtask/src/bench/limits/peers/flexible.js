// Drives rate-limiter-flexible: RateLimiterRedis with real time. Arguments: port of Redis. Standard input: one line a
// request, "due limit span key", with times in microseconds. Standard output: "index time admitted" for each.
const { RateLimiterRedis } = require('rate-limiter-flexible');
const Redis = require('ioredis');

const lines = require('fs').readFileSync(0, 'utf8').trim().split('\n').map((line) => line.split(' '));
const client = new Redis({ host: '127.0.0.1', port: Number(process.argv[2]), enableOfflineQueue: true });
const limiters = new Map();
const limiter = (limit, span) => {
  const name = `${limit}/${span}`;
  if (!limiters.has(name)) {
    const options = { storeClient: client, keyPrefix: name, points: Number(limit), duration: Number(span) / 1e6 };
    limiters.set(name, new RateLimiterRedis(options));
  }
  return limiters.get(name);
};
const micros = () => Number(process.hrtime.bigint() / 1000n);
const out = [];
let failed = null;

const ask = async (index, [, limit, span, key]) => {
  const before = micros();
  let admitted = 1;
  try {
    await limiter(limit, span).consume(key);
  } catch (refusal) {
    if (refusal instanceof Error) failed = refusal;
    admitted = 0;
  }
  out[index] = `${index} ${Math.floor((before + micros()) / 2)} ${admitted}`;
};

const run = async () => {
  await client.ping();
  const start = micros();
  const running = [];
  for (let index = 0; index < lines.length; index += 1) {
    const due = start + Number(lines[index][0]);
    while (micros() < due) {
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, (due - micros()) / 1000)));
    }
    running.push(ask(index, lines[index]));
  }
  await Promise.all(running);
  if (failed) throw failed;
  process.stdout.write(`${out.join('\n')}\n`);
  client.disconnect();
};

run().catch((error) => {
  console.error(error);
  process.exit(1);
});
