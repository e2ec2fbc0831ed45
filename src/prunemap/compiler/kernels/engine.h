/* The C ABI of a compiled program and its thread pool; included last. The generated file defines before it:
 * `steps`, `loops`, `ends`, LOOPS, SLOTS, ARENA_FLOATS, SCRATCH_FLOATS, WEIGHT_BYTES. An engine is independent of every other one; one engine
 * serves one caller at a time (the Python side holds a lock). */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "pmap.h"

#ifndef ARENA_FILL
#define ARENA_FILL 0 /* tests fill it with NaN, to see what reads before it is written */
#endif
#define SPIN_NS 50000 /* a waiting thread spins this long, then parks */

struct pmap_engine {
  context context;
  int threads;
  pthread_t *workers;
  int started; /* workers that run */
  double *slot_seconds;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  atomic_int parked, arrived, stop;
  atomic_uint job, phase; /* counters: a new run; a step done by all */
};

static double seconds_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Wait until *counter differs from `old`. */
static void wait_for_change(pmap_engine *e, atomic_uint *counter, unsigned old) {
  double until = 0;
  for (int i = 1; atomic_load(counter) == old; i++) {
    cpu_relax();
    if (i % 64) continue;
    double now = seconds_now();
    if (until == 0) until = now + 1e-9 * SPIN_NS;
    if (now < until) continue;
    pthread_mutex_lock(&e->lock);
    atomic_fetch_add(&e->parked, 1);
    while (atomic_load(counter) == old) pthread_cond_wait(&e->changed, &e->lock);
    atomic_fetch_sub(&e->parked, 1);
    pthread_mutex_unlock(&e->lock);
  }
}

static void advance(pmap_engine *e, atomic_uint *counter) {
  atomic_fetch_add(counter, 1);
  if (atomic_load(&e->parked) == 0) return;
  pthread_mutex_lock(&e->lock);
  pthread_cond_broadcast(&e->changed);
  pthread_mutex_unlock(&e->lock);
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
    wait_for_change(e, &e->phase, phase);
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

typedef struct {
  pmap_engine *engine;
  int thread;
} worker_start;

static void *work(void *arg) {
  worker_start start = *(worker_start *)arg;
  free(arg);
  for (unsigned job = 0;; job++) {
    wait_for_change(start.engine, &start.engine->job, job);
    if (atomic_load(&start.engine->stop)) return 0;
    run_program(start.engine, start.thread);
  }
}

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
  for (int i = 0; i < e->started; i++) pthread_join(e->workers[i], 0);
  pthread_cond_destroy(&e->changed);
  pthread_mutex_destroy(&e->lock);
  free(e->workers);
  free(e->context.arena);
  free(e->context.scratch);
  free(e);
}

static int start_worker(pmap_engine *e, int index) {
  worker_start *start = malloc(sizeof *start);
  if (!start) return 0;
  *start = (worker_start){e, index + 1};
  if (pthread_create(&e->workers[index], 0, work, start) == 0) return 1;
  free(start);
  return 0;
}

pmap_engine *pmap_create(const void *weights, int32_t threads) {
  if (threads < 1) return 0;
  pmap_engine *e = calloc(1, sizeof *e);
  if (!e) return 0;
  e->threads = threads;
  e->context.blob = weights;
  e->context.wait = barrier;
  e->context.engine = e;
  pthread_mutex_init(&e->lock, 0);
  pthread_cond_init(&e->changed, 0);
  size_t bytes = ((size_t)ARENA_FLOATS * 4 + 63) / 64 * 64;
  e->context.arena = aligned_alloc(64, bytes);
  e->context.scratch_floats = SCRATCH_FLOATS;
  e->context.scratch = calloc((size_t)SCRATCH_FLOATS * (size_t)threads + 1, sizeof(float));
  e->workers = calloc((size_t)threads, sizeof *e->workers);
  int have_memory = e->context.arena && e->context.scratch && e->workers;
  if (have_memory) {
    memset(e->context.arena, ARENA_FILL, bytes);
    while (e->started < threads - 1 && start_worker(e, e->started)) e->started++;
  }
  if (!have_memory || e->started < threads - 1) {
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
