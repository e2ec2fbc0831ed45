/* What one core does at best: multiply-adds in independent chains, and copying as a kernel copies, through vector
 * registers. LANES is defined before it. */
#include <time.h>

#include "pmap.h"
#include "simd.h"

#define CHAINS 12 /* more than latency x units of any core, and they fit 16 registers beside the two factors */
#define COPIED 4  /* vectors at a time */

static double seconds_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

PMAP_EXPORT double limits_time_fma(int64_t steps, double *flops) {
  volatile float given[2] = {0.999f, 0.001f}, sink; /* volatile: known at run time only */
  vfloat a = v_splat(given[0]), b = v_splat(given[1]), sum[CHAINS];
  UNROLL for (int k = 0; k < CHAINS; k++) sum[k] = v_splat(given[0] * (float)k);
  double start = seconds_now();
  for (int64_t i = 0; i < steps; i++) {
    UNROLL for (int k = 0; k < CHAINS; k++) sum[k] = sum[k] * a + b;
  }
  double seconds = seconds_now() - start;
  for (int k = 0; k < CHAINS; k++) sink = sum[k][0];
  (void)sink;
  *flops = 2.0 * CHAINS * LANES * (double)steps;
  return seconds;
}

/* `floats`: a multiple of COPIED vectors. */
PMAP_EXPORT double limits_time_copy(float *to, const float *from, int64_t floats, int64_t repeats) {
  double start = seconds_now();
  for (int64_t n = 0; n < repeats; n++) {
    for (int64_t i = 0; i < floats; i += COPIED * LANES) {
      UNROLL for (int k = 0; k < COPIED; k++) v_store(to + i + k * LANES, v_load(from + i + k * LANES));
    }
    __asm__ volatile("" ::: "memory"); /* the next copy is made too */
  }
  return seconds_now() - start;
}
