/* The C ABI of a compiled program; included last. The generated file defines before it: `steps`, `loops`, `ends`, LOOPS,
 * SLOTS, ARENA_FLOATS, SCRATCH_FLOATS, WEIGHT_BYTES. An engine is independent of every other one; one engine serves one
 * caller at a time (the Python side holds a lock). */
#include <time.h>

#include "threads.h"

#ifndef ARENA_FILL
#define ARENA_FILL 0 /* tests fill it with NaN, to see what reads before it is written */
#endif
#define SPIN_NS 50000 /* a waiting thread spins this long, then sleeps */

struct pmap_engine {
  context context;
  int threads;
  double *slot_seconds;
  thread_pool pool;
  atomic_int arrived, stop;
  atomic_uint job, phase; /* counters: a new run; a step done by all */
};

static double seconds_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Wait until *counter differs from `old`. */
static void wait_for_change(pmap_engine *e, atomic_uint *counter, unsigned old, int sleeps) {
  double until = 0;
  for (int i = 1; atomic_load(counter) == old; i++) {
    cpu_relax();
    if (i % 64 || !sleeps) continue;
    double now = seconds_now();
    if (until == 0) until = now + 1e-9 * SPIN_NS;
    if (now >= until) pool_sleep(&e->pool, counter, old);
  }
}

static void advance(pmap_engine *e, atomic_uint *counter) {
  atomic_fetch_add(counter, 1);
  pool_wake(&e->pool, counter);
}

/* Wait until all threads are here. */
static void barrier(void *engine) {
  pmap_engine *e = engine;
  if (e->threads == 1) return;
  unsigned phase = atomic_load(&e->phase);
  if (atomic_fetch_add(&e->arrived, 1) + 1 == e->threads) {
    atomic_store(&e->arrived, 0);
    advance(e, &e->phase);
  } else {
    wait_for_change(e, &e->phase, phase, SLEEPS_IN_RUNS);
  }
}

/* Run `count` steps for the images of the context; all threads work on one step. */
static void run_steps(pmap_engine *e, const context *c, const program_step *s, int count, int thread) {
  double *times = thread == 0 ? e->slot_seconds : 0;
  double before = times ? seconds_now() : 0;
  for (const program_step *end = s + count; s < end; s++) {
    s->run(c, s->step, thread, e->threads);
    barrier(e);
    if (times) {
      double now = seconds_now();
      times[s->slot] += now - before;
      before = now;
    }
  }
}

static void run_program(pmap_engine *e, int thread) {
  fp_mode mode = fp_flush_denormals();
  context c = e->context;
  const program_step *next = steps;
  for (const image_loop *l = loops; l < loops + LOOPS; next += l++->steps)
    for (int image = 0; image < l->images; image += l->at_once) {
      c.images = (range){image, image + l->at_once};
      run_steps(e, &c, next, l->steps, thread);
    }
  fp_restore(mode);
}

/* What a thread other than the caller's does until the engine ends. */
static void work(pmap_engine *e, int thread) {
  for (unsigned job = 0;; job++) {
    wait_for_change(e, &e->job, job, 1);
    if (atomic_load(&e->stop)) return;
    run_program(e, thread);
  }
}

#ifdef __wasm_atomics__
__attribute__((export_name("pmap_work"))) void pmap_work(pmap_engine *e, int32_t thread) {
  work(e, thread);
  atomic_fetch_add(&e->pool.ended, 1);
}
#endif

int32_t pmap_abi(void) { return PMAP_ABI; }
int64_t pmap_arena_bytes(void) { return (int64_t)ARENA_FLOATS * 4; }
int64_t pmap_thread_bytes(void) { return (int64_t)SCRATCH_FLOATS * 4; }
int64_t pmap_weight_bytes(void) { return WEIGHT_BYTES; }
int32_t pmap_slots(void) { return SLOTS; }
int64_t pmap_elements(int32_t end) {
  return end >= 0 && end < (int32_t)(sizeof ends / sizeof *ends) ? ends[end] : -1;
}

void pmap_destroy(pmap_engine *e) {
  if (!e) return;
  atomic_store(&e->stop, 1);
  advance(e, &e->job);
  pool_end(&e->pool);
  free(e->context.arena);
  free(e->context.scratch);
  free(e);
}

pmap_engine *pmap_create(const void *weights, int32_t threads) {
  if (threads < 1 || (uintptr_t)weights % 64) return 0;
  pmap_engine *e = calloc(1, sizeof *e);
  if (!e) return 0;
  e->threads = threads;
  e->context.blob = weights;
  e->context.wait = barrier;
  e->context.engine = e;
  size_t bytes = ((size_t)ARENA_FLOATS * 4 + 63) / 64 * 64;
  e->context.arena = aligned_alloc(64, bytes);
  e->context.scratch_floats = SCRATCH_FLOATS;
  e->context.scratch = calloc((size_t)SCRATCH_FLOATS * (size_t)threads + 1, sizeof(float));
  int have_memory = e->context.arena && e->context.scratch;
  if (have_memory) memset(e->context.arena, ARENA_FILL, bytes);
  if (!pool_start(&e->pool, e, have_memory ? threads - 1 : 0) || !have_memory) {
    pmap_destroy(e);
    return 0;
  }
  return e;
}

void pmap_run(pmap_engine *e, const float *const *inputs, float *const *outputs) {
  e->context.inputs = inputs;
  e->context.outputs = outputs;
  if (e->threads > 1) advance(e, &e->job);
  run_program(e, 0);
}

void pmap_time_runs(pmap_engine *e, const float *const *inputs, float *const *outputs, int32_t runs, double *seconds) {
  for (int i = 0; i < runs; i++) {
    double before = seconds_now();
    pmap_run(e, inputs, outputs);
    seconds[i] = seconds_now() - before;
  }
}

void pmap_time_slots(pmap_engine *e, const float *const *inputs, float *const *outputs, int32_t runs, double *seconds) {
  memset(seconds, 0, sizeof(double) * (size_t)runs * SLOTS);
  for (int i = 0; i < runs; i++) {
    e->slot_seconds = seconds + (size_t)i * SLOTS;
    pmap_run(e, inputs, outputs);
  }
  e->slot_seconds = 0;
}
