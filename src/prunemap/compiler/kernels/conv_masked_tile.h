/* One register tile of conv.h for mask runs, FILTERS x VECTORS; included once per tile with NAME, FILTERS, VECTORS,
 * INDEX and STEP defined. Rows of a group need not be alike: units kept by the same rows follow one another, so each
 * of the 2^FILTERS - 1 loops knows which accumulators it feeds. The steps of each run start at the lowest offset again. */
INLINE void NAME(_tile)(const conv_step *s, const conv_pointers *p, int group, int64_t place) {
  vfloat acc[FILTERS][VECTORS];
  UNROLL for (int f = 0; f < FILTERS; f++)
    UNROLL for (int v = 0; v < VECTORS; v++) acc[f][v] = v_splat(p->bias[group * FILTERS + f]);
  const uint16_t *counts = p->counts + group * ((1 << FILTERS) - 1);
  const INDEX *steps = (const INDEX *)p->indices + p->starts[group];
  const float *w = p->weights + p->weight_starts[group];
  UNROLL for (int mask = 1; mask < 1 << FILTERS; mask++) {
    const float *x = p->in + place;
    for (int n = *counts++; n > 0; n--) {
      x += (int64_t)*steps++ * STEP;
      vfloat xs[VECTORS];
      UNROLL for (int v = 0; v < VECTORS; v++) xs[v] = v_load(x + v * LANES);
      UNROLL for (int f = 0; f < FILTERS; f++) {
        if (!(mask >> f & 1)) continue;
        float weight = *w++;
        UNROLL for (int v = 0; v < VECTORS; v++) acc[f][v] += xs[v] * weight;
      }
    }
  }
  UNROLL for (int f = 0; f < FILTERS; f++) conv_store(s, p, p->rows[group * FILTERS + f], place, acc[f], VECTORS);
}

#include "conv_loops.h"
