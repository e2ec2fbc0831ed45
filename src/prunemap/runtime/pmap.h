/* C ABI of a program compiled by prunemap. fp32; arrays are dense, row-major (N, C, H, W) or (N, F), one pointer per
 * graph input and output in graph order. */
#ifndef PMAP_H
#define PMAP_H

#include <stdint.h>

#define PMAP_ABI 2
#define PMAP_EXPORT __attribute__((visibility("default")))

/* Two models in one program: each of them, and the files that call it, compiled with a PMAP_PREFIX of its own. */
#ifdef PMAP_PREFIX
#define PMAP_JOIN_(a, b) a##b
#define PMAP_JOIN(a, b) PMAP_JOIN_(a, b)
#define pmap_abi PMAP_JOIN(PMAP_PREFIX, pmap_abi)
#define pmap_arena_bytes PMAP_JOIN(PMAP_PREFIX, pmap_arena_bytes)
#define pmap_thread_bytes PMAP_JOIN(PMAP_PREFIX, pmap_thread_bytes)
#define pmap_weight_bytes PMAP_JOIN(PMAP_PREFIX, pmap_weight_bytes)
#define pmap_slots PMAP_JOIN(PMAP_PREFIX, pmap_slots)
#define pmap_elements PMAP_JOIN(PMAP_PREFIX, pmap_elements)
#define pmap_create PMAP_JOIN(PMAP_PREFIX, pmap_create)
#define pmap_destroy PMAP_JOIN(PMAP_PREFIX, pmap_destroy)
#define pmap_run PMAP_JOIN(PMAP_PREFIX, pmap_run)
#define pmap_time_runs PMAP_JOIN(PMAP_PREFIX, pmap_time_runs)
#define pmap_time_slots PMAP_JOIN(PMAP_PREFIX, pmap_time_slots)
#define model_weights PMAP_JOIN(PMAP_PREFIX, model_weights)
#endif

typedef struct pmap_engine pmap_engine;

PMAP_EXPORT int32_t pmap_abi(void);

/* Bytes of activations that one engine allocates. */
PMAP_EXPORT int64_t pmap_arena_bytes(void);
/* Bytes that it allocates besides for each of its threads. */
PMAP_EXPORT int64_t pmap_thread_bytes(void);
/* What the caller must hold: bytes of weights, slots that are timed, elements of the inputs, then of the outputs, each
 * of four bytes; -1 = there are no more. */
PMAP_EXPORT int64_t pmap_weight_bytes(void);
PMAP_EXPORT int32_t pmap_slots(void);
PMAP_EXPORT int64_t pmap_elements(int32_t end);

/* Make an engine. `weights` is the program's weight blob, 64-byte aligned; it must outlive the engine. NULL if it is
 * not aligned so, if threads < 1, or if memory or threads cannot be had. */
PMAP_EXPORT pmap_engine *pmap_create(const void *weights, int32_t threads);
PMAP_EXPORT void pmap_destroy(pmap_engine *engine);

/* Run once. Not for two callers of one engine at a time. */
PMAP_EXPORT void pmap_run(pmap_engine *engine, const float *const *inputs, float *const *outputs);

/* Run `runs` times; seconds[runs]. */
PMAP_EXPORT void pmap_time_runs(pmap_engine *engine, const float *const *inputs, float *const *outputs, int32_t runs,
                                double *seconds);

/* Run `runs` times and time every slot (a node of the network, then the inputs, then the outputs); seconds[runs][slots]. */
PMAP_EXPORT void pmap_time_slots(pmap_engine *engine, const float *const *inputs, float *const *outputs, int32_t runs,
                                 double *seconds);

#endif
