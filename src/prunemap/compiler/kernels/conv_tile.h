/* One register tile of conv.h, FILTERS x VECTORS; included once per tile with NAME, FILTERS, VECTORS, INDEX (the type
 * of the steps) and STEP (floats that a step counts) defined.
 * A unit loads its VECTORS pixel vectors once and feeds all FILTERS filters of the group: that reuse is what structure
 * in the zeros buys. */
INLINE void NAME(_tile)(const conv_step *s, const conv_pointers *p, int group, int64_t place) {
  vfloat acc[FILTERS][VECTORS];
  UNROLL for (int f = 0; f < FILTERS; f++)
    UNROLL for (int v = 0; v < VECTORS; v++) acc[f][v] = v_splat(p->bias[group * FILTERS + f]);
  const float *x = p->in + place, *w = p->weights + (int64_t)p->starts[group] * FILTERS;
  const INDEX *steps = (const INDEX *)p->indices;
  for (int u = p->starts[group]; u < p->starts[group + 1]; u++, w += FILTERS) {
    x += (int64_t)steps[u] * STEP;
    vfloat xs[VECTORS];
    UNROLL for (int v = 0; v < VECTORS; v++) xs[v] = v_load(x + v * LANES);
    UNROLL for (int f = 0; f < FILTERS; f++)
      UNROLL for (int v = 0; v < VECTORS; v++) acc[f][v] += xs[v] * WEIGHT(w, f, FILTERS);
  }
  UNROLL for (int f = 0; f < FILTERS; f++) conv_store(s, p, p->rows[group * FILTERS + f], place, acc[f], VECTORS);
}

#include "conv_loops.h"
