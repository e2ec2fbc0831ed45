/* Depthwise convolution, pixels in the lanes: every output plane reads one input plane.
 *
 *   y[c][q] = clamp(bias[c] + sum_n weight[n] * x[c / multiplier][offset[n] + q]  (+ residual[c][q]))
 *
 * over the taps n in starts[c] .. starts[c + 1]: those that are kept. The usual square kernels of stride 1 and 2 are
 * tiles (depthwise_tile.h); this is any other one. A strided one first cuts its input plane into phases (maps.h) in a
 * scratch that stays in L1 or L2. */
#ifndef PMAP_DEPTHWISE_H
#define PMAP_DEPTHWISE_H

#include "maps.h"

typedef struct depthwise_step depthwise_step;
struct depthwise_step {
  const tensor *in, *out, *residual, *phases;
  void (*kernel)(const context *c, const depthwise_step *s, int thread, int image, range channels);
  int32_t multiplier, stride_y, stride_x, phase_count;
  int64_t starts, offsets, weights, bias, mask, phase_places; /* starts: none where a tile stores every weight */
  float low, high;
};

typedef struct {
  const float *in, *residual, *mask, *weights; /* of one channel; in and residual at the origin */
  const int32_t *offsets;
  float *out, bias;
  int taps;
} depthwise_plane;

/* VECTORS vectors of the plane at a time, one load per multiply-add. */
#define DEPTHWISE_VECTORS 6
INLINE void depthwise_vectors(const depthwise_step *s, const depthwise_plane *p, int64_t place, int vectors) {
  vfloat acc[DEPTHWISE_VECTORS];
  UNROLL for (int v = 0; v < vectors; v++) acc[v] = v_splat(p->bias);
  for (int k = 0; k < p->taps; k++) {
    const float *in = p->in + p->offsets[k] + place;
    UNROLL for (int v = 0; v < vectors; v++) acc[v] += v_load(in + v * LANES) * p->weights[k];
  }
  UNROLL for (int v = 0; v < vectors; v++, place += LANES) {
    vfloat y = acc[v];
    if (p->residual) y += v_load(p->residual + place);
    y = v_clamp(y, s->low, s->high);
    if (p->mask) y = (vfloat)((vint)y & (vint)v_load(p->mask + place));
    v_store(p->out + place, y);
  }
}

static void f32_depthwise_any(const context *c, const depthwise_step *s, int thread, int image, range channels) {
  depthwise_plane p = {.mask = in_blob(c, s->mask)};
  const float *weights = in_blob(c, s->weights), *bias = in_blob(c, s->bias);
  const int32_t *starts = in_blob(c, s->starts), *offsets = in_blob(c, s->offsets);
  const int32_t *phases = in_blob(c, s->phase_places);
  float *scratch = c->scratch + (int64_t)thread * c->scratch_floats;
  int vectors = s->out->interior / LANES;
  for (int ch = channels.begin; ch < channels.end; ch++) {
    const float *plane = plane_of(c, s->in, image, ch / s->multiplier);
    int is_cut = ch % s->multiplier != 0 && ch > channels.begin; /* for the channel before this one */
    for (int k = 0; k < s->phase_count && !is_cut; k++)
      cut_phase(s->in, plane, s->phases, scratch + (int64_t)k * s->phases->plane, phases + 2 * k, s->stride_y, s->stride_x);
    p.in = s->phase_count ? scratch + s->phases->origin : plane + s->in->origin;
    p.out = row_of(c, s->out, image, ch, 0);
    p.residual = s->residual ? row_of(c, s->residual, image, ch, 0) : 0;
    p.taps = starts[ch + 1] - starts[ch];
    p.weights = weights + starts[ch];
    p.offsets = offsets + starts[ch];
    p.bias = bias[ch];
    int v = 0;
    for (; v + DEPTHWISE_VECTORS <= vectors; v += DEPTHWISE_VECTORS)
      depthwise_vectors(s, &p, (int64_t)v * LANES, DEPTHWISE_VECTORS);
    for (; v < vectors; v++) depthwise_vectors(s, &p, (int64_t)v * LANES, 1);
    zero_around_plane_interior(s->out, plane_of(c, s->out, image, ch));
  }
}

static void f32_depthwise(const context *c, const void *step, int thread, int threads) {
  const depthwise_step *s = step;
  int channels = s->out->channels;
  range planes = share_of((c->images.end - c->images.begin) * channels, thread, threads);
  for (int i = planes.begin, first, end; i < planes.end; i += end - first) { /* the planes of one image at a time */
    first = i % channels;
    end = at_most(channels, first + planes.end - i);
    s->kernel(c, s, thread, c->images.begin + i / channels, (range){first, end});
  }
}

#endif
