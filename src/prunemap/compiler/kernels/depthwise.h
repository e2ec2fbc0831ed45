/* Depthwise convolution, pixels in the lanes: every output plane reads one input plane (and its phases).
 *
 *   y[c][q] = clamp(bias[c] + sum_k weight[c][k] * x[c / multiplier][offset[k] + q]  (+ residual[c][q])) */
#ifndef PMAP_DEPTHWISE_H
#define PMAP_DEPTHWISE_H

#include "program.h"

typedef struct {
  const tensor *in, *out, *residual;
  int32_t taps, multiplier;
  int64_t offsets, weights, bias, mask;
  float low, high;
} depthwise_step;

#define DEPTHWISE_VECTORS 6

INLINE void depthwise_tile(const depthwise_step *s, const float *in, float *out, const float *residual,
                           const float *mask, const int32_t *offsets, const float *w, float bias, int vectors) {
  vfloat acc[DEPTHWISE_VECTORS];
  UNROLL for (int v = 0; v < vectors; v++) acc[v] = v_splat(bias);
  for (int k = 0; k < s->taps; k++)
    UNROLL for (int v = 0; v < vectors; v++) acc[v] += v_load(in + offsets[k] + v * LANES) * w[k];
  UNROLL for (int v = 0; v < vectors; v++) {
    vfloat y = acc[v];
    if (residual) y += v_load(residual + v * LANES);
    y = v_clamp(y, s->low, s->high);
    if (mask) y = (vfloat)((vint)y & (vint)v_load(mask + v * LANES));
    v_store(out + v * LANES, y);
  }
}

static void f32_depthwise(const context *c, const void *step, int thread, int threads) {
  const depthwise_step *s = step;
  zero_around_interior(c, s->out, thread, threads);
  const int32_t *offsets = in_blob(c, s->offsets);
  const float *weights = in_blob(c, s->weights), *bias = in_blob(c, s->bias), *mask = in_blob(c, s->mask);
  int channels = s->out->channels, vectors = s->out->interior / LANES;
  range mine = share_of(s->out->images * channels, thread, threads);
  for (int i = mine.begin; i < mine.end; i++) {
    int n = i / channels, ch = i % channels, v = 0;
    const float *in = row_of(c, s->in, n, ch / s->multiplier, 0), *w = weights + (int64_t)ch * s->taps;
    const float *residual = s->residual ? row_of(c, s->residual, n, ch, 0) : 0;
    float *out = row_of(c, s->out, n, ch, 0);
    for (; v < vectors;) {
      int full = vectors - v >= DEPTHWISE_VECTORS, at = v * LANES;
      const float *r = residual ? residual + at : 0, *m = mask ? mask + at : 0;
      if (full) depthwise_tile(s, in + at, out + at, r, m, offsets, w, bias[ch], DEPTHWISE_VECTORS);
      else depthwise_tile(s, in + at, out + at, r, m, offsets, w, bias[ch], 1);
      v += full ? DEPTHWISE_VECTORS : 1;
    }
  }
}

#endif
