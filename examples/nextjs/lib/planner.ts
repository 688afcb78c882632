/** Tasks, in memory, and who wants to hear of new ones. A real planner has a database here. */

export interface Task {
  id: string;
  title: string;
  createdAt: string;
}

type Listener = (task: Task) => void;

interface Plan {
  tasks: Task[];
  listeners: Set<Listener>;
}

/** Longest title, in characters. */
export const MAX_TITLE_LENGTH = 200;
/** Most tasks that one user keeps; the oldest go first. */
const MAX_TASKS = 100;
/** Most plans; the one that was made first goes first. */
const MAX_PLANS = 10_000;
/** Most open event streams of one user. */
const MAX_LISTENERS = 10;

// Next.js may load this file once for each route; they all mean the same plans.
const shared = globalThis as typeof globalThis & { plans?: Map<string, Plan> };
const plans = (shared.plans ??= new Map());

function planOf(userId: string): Plan {
  const existing = plans.get(userId);
  if (existing) return existing;
  const [oldest] = plans.keys();
  if (plans.size >= MAX_PLANS && oldest !== undefined) plans.delete(oldest);
  const made: Plan = { tasks: [], listeners: new Set() };
  plans.set(userId, made);
  return made;
}

export function tasksOf(userId: string): readonly Task[] {
  return plans.get(userId)?.tasks ?? [];
}

export function addTask(userId: string, title: string): Task {
  const plan = planOf(userId);
  const task = { id: crypto.randomUUID(), title, createdAt: new Date().toISOString() };
  plan.tasks = [...plan.tasks, task].slice(-MAX_TASKS);
  for (const listener of plan.listeners) listener(task);
  return task;
}

/** Calls back for each new task of the user until the answer is called; undefined if too many listen already. */
export function listen(userId: string, listener: Listener): (() => void) | undefined {
  const { listeners } = planOf(userId);
  if (listeners.size >= MAX_LISTENERS) return undefined;
  listeners.add(listener);
  return () => void listeners.delete(listener);
}
