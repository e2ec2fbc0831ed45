/* Depthwise convolution, pixels in the lanes: every output plane reads one input plane.
 *
 *   y[c][q] = clamp(bias[c] + sum_k weight[c][k] * x[c / multiplier][offset[k] + q]  (+ residual[c][q]))
 *
 * A strided one first cuts its input plane into phases (maps.h) in a scratch that stays in L1 or L2. */
#ifndef PMAP_DEPTHWISE_H
#define PMAP_DEPTHWISE_H

#include "maps.h"

typedef struct depthwise_step depthwise_step;
typedef struct {
  const float *in, *residual, *mask, *weights; /* of one channel; in and residual at the origin */
  const int32_t *offsets;
  float *out, bias;
} depthwise_plane;

struct depthwise_step {
  const tensor *in, *out, *residual, *phases;
  void (*kernel)(const depthwise_step *s, const depthwise_plane *p);
  int32_t by_rows; /* the kernel writes the rows, not the whole interior */
  int32_t taps, multiplier, stride_y, stride_x, phase_count;
  int64_t offsets, weights, bias, mask, phase_places;
  float low, high;
};

INLINE void depthwise_store(const depthwise_step *s, const depthwise_plane *p, int64_t place, vfloat y) {
  if (p->residual) y += v_load(p->residual + place);
  y = v_clamp(y, s->low, s->high);
  if (p->mask) y = (vfloat)((vint)y & (vint)v_load(p->mask + place));
  v_store(p->out + place, y);
}

INLINE void depthwise_store_part(const depthwise_step *s, const depthwise_plane *p, int64_t place, vfloat y, int width) {
  for (int i = 0; i < width; i++) {
    float value = f_clamp(p->residual ? y[i] + p->residual[place + i] : y[i], s->low, s->high);
    p->out[place + i] = i + place % s->out->pitch < s->out->width ? value : 0;
  }
}

/* Any kernel: VECTORS vectors of the plane at a time, one load per multiply-add. */
#define DEPTHWISE_VECTORS 6
INLINE void depthwise_vectors(const depthwise_step *s, const depthwise_plane *p, int64_t place, int vectors) {
  vfloat acc[DEPTHWISE_VECTORS];
  UNROLL for (int v = 0; v < vectors; v++) acc[v] = v_splat(p->bias);
  for (int k = 0; k < s->taps; k++) {
    const float *in = p->in + p->offsets[k] + place;
    UNROLL for (int v = 0; v < vectors; v++) acc[v] += v_load(in + v * LANES) * p->weights[k];
  }
  UNROLL for (int v = 0; v < vectors; v++) depthwise_store(s, p, place + v * LANES, acc[v]);
}

static void f32_depthwise_any(const depthwise_step *s, const depthwise_plane *p) {
  int vectors = s->out->interior / LANES, v = 0;
  for (; v + DEPTHWISE_VECTORS <= vectors; v += DEPTHWISE_VECTORS)
    depthwise_vectors(s, p, (int64_t)v * LANES, DEPTHWISE_VECTORS);
  for (; v < vectors; v++) depthwise_vectors(s, p, (int64_t)v * LANES, 1);
}

static void f32_depthwise(const context *c, const void *step, int thread, int threads) {
  const depthwise_step *s = step;
  zero_around_interior(c, s->out, thread, threads);
  depthwise_plane p = {.offsets = in_blob(c, s->offsets), .mask = in_blob(c, s->mask)};
  const float *weights = in_blob(c, s->weights), *bias = in_blob(c, s->bias);
  const int32_t *phases = in_blob(c, s->phase_places);
  float *scratch = c->scratch + (int64_t)thread * c->scratch_floats;
  FOR_PLANES(c, s->out) {
    const float *plane = plane_of(c, s->in, n, ch / s->multiplier);
    int is_cut = ch % s->multiplier != 0 && i_ > planes_.begin; /* for the channel before this one */
    for (int k = 0; k < s->phase_count && !is_cut; k++)
      cut_phase(s->in, plane, s->phases, scratch + (int64_t)k * s->phases->plane, phases + 2 * k, s->stride_y, s->stride_x);
    p.in = s->phase_count ? scratch + s->phases->origin : plane + s->in->origin;
    p.out = row_of(c, s->out, n, ch, 0);
    p.residual = s->residual ? row_of(c, s->residual, n, ch, 0) : 0;
    p.weights = weights + (int64_t)ch * s->taps;
    p.bias = bias[ch];
    s->kernel(s, &p);
    if (s->by_rows) zero_below_rows(s->out, p.out);
  }
}

#endif
