/* How the threads of an engine start, sleep, wake and end. POSIX threads; in WebAssembly with shared memory the workers
 * that model.js starts, which call pmap_work. The thread of a page may not sleep, so there threads sleep between runs
 * alone, where only workers wait. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#include "pmap.h"

static void work(pmap_engine *engine, int thread);

#ifdef __wasm_atomics__

enum { SLEEPS_IN_RUNS = 0 };

typedef struct {
  int count;
  atomic_int ended;
} thread_pool;

static int pool_start(thread_pool *p, pmap_engine *engine, int count) {
  (void)engine; /* the workers call */
  p->count = count;
  return 1;
}

static void pool_sleep(thread_pool *p, atomic_uint *counter, unsigned old) {
  (void)p;
  __builtin_wasm_memory_atomic_wait32((int *)counter, (int)old, -1);
}

static void pool_wake(thread_pool *p, atomic_uint *counter) {
  (void)p;
  __builtin_wasm_memory_atomic_notify((int *)counter, ~0u);
}

static void pool_end(thread_pool *p) {
  while (atomic_load(&p->ended) < p->count) continue;
}

#else

enum { SLEEPS_IN_RUNS = 1 };

typedef struct {
  pmap_engine *engine;
  int thread;
  pthread_t id;
} pool_thread;

typedef struct {
  pool_thread *threads;
  int count;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  atomic_int sleeping;
} thread_pool;

static void *pool_work(void *arg) {
  pool_thread *t = arg;
  work(t->engine, t->thread);
  return 0;
}

/* Start threads 1 … count; 0 if not all could be, pool_end then ends the others. */
static int pool_start(thread_pool *p, pmap_engine *engine, int count) {
  pthread_mutex_init(&p->lock, 0);
  pthread_cond_init(&p->changed, 0);
  p->threads = calloc((size_t)count + 1, sizeof *p->threads);
  if (!p->threads) return 0;
  for (; p->count < count; p->count++) {
    pool_thread *t = p->threads + p->count;
    t->engine = engine;
    t->thread = p->count + 1;
    if (pthread_create(&t->id, 0, pool_work, t)) return 0;
  }
  return 1;
}

static void pool_sleep(thread_pool *p, atomic_uint *counter, unsigned old) {
  pthread_mutex_lock(&p->lock);
  atomic_fetch_add(&p->sleeping, 1);
  while (atomic_load(counter) == old) pthread_cond_wait(&p->changed, &p->lock);
  atomic_fetch_sub(&p->sleeping, 1);
  pthread_mutex_unlock(&p->lock);
}

static void pool_wake(thread_pool *p, atomic_uint *counter) {
  (void)counter;
  if (atomic_load(&p->sleeping) == 0) return;
  pthread_mutex_lock(&p->lock);
  pthread_cond_broadcast(&p->changed);
  pthread_mutex_unlock(&p->lock);
}

static void pool_end(thread_pool *p) {
  for (int i = 0; i < p->count; i++) pthread_join(p->threads[i].id, 0);
  pthread_cond_destroy(&p->changed);
  pthread_mutex_destroy(&p->lock);
  free(p->threads);
}

#endif
