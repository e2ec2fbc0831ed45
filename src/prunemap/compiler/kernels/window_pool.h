/* Pools over one to three axes with any dilation, padding and kind; missing axes have size and kernel 1. */
#ifndef PMAP_WINDOW_POOL_H
#define PMAP_WINDOW_POOL_H

#include "math.h"
#include "strided.h"

enum { POOL_MAX, POOL_MAX_INDEX, POOL_AVERAGE, POOL_LP };

typedef struct {
  space space; /* (N, C, O1, O2, O3) */
  operand out, in; /* both with strides for these five axes */
  int32_t kind, p, column_major;
  int32_t size[3], kernel[3], stride[3], begin[3], end[3], dilation[3]; /* begin, end: how far padding counts */
  int32_t pad[3]; /* before each axis */
} window_pool_step;

INLINE float power(float x, int p) { return p == 1 ? x : p == 2 ? x * x : v_pow(v_splat(x), v_splat((float)p))[0]; }

INLINE void pool_window(const window_pool_step *s, const float *in, const place *p, int64_t plane, float *to) {
  float best = -__builtin_inff(), sum = 0;
  int32_t best_at = 0, counted = 1;
  const int32_t *o = p->index + 2;
  for (int i = 0; i < 3; i++) {
    int inside = 0;
    for (int k = 0; k < s->kernel[i]; k++) {
      int at = o[i] * s->stride[i] - s->pad[i] + k * s->dilation[i];
      inside += at >= -s->begin[i] && at < s->size[i] + s->end[i];
    }
    counted *= inside;
  }
  int seen = 0;
  for (int a = 0, y0 = o[0] * s->stride[0] - s->pad[0]; a < s->kernel[0]; a++, y0 += s->dilation[0])
    for (int b = 0, y1 = o[1] * s->stride[1] - s->pad[1]; b < s->kernel[1]; b++, y1 += s->dilation[1])
      for (int d = 0, y2 = o[2] * s->stride[2] - s->pad[2]; d < s->kernel[2]; d++, y2 += s->dilation[2]) {
        if (y0 < 0 || y1 < 0 || y2 < 0 || y0 >= s->size[0] || y1 >= s->size[1] || y2 >= s->size[2]) continue;
        float x = in[y0 * s->in.strides[2] + y1 * s->in.strides[3] + y2 * s->in.strides[4]];
        if (!seen++ || x > best || x != x) {
          best = x;
          best_at = s->column_major ? (y2 * s->size[1] + y1) * s->size[0] + y0 : (y0 * s->size[1] + y1) * s->size[2] + y2;
        }
        sum += s->kind == POOL_LP ? power(x < 0 ? -x : x, s->p) : x;
      }
  int32_t index = (int32_t)plane * s->size[0] * s->size[1] * s->size[2] + best_at;
  switch (s->kind) {
    case POOL_MAX: *to = best; break;
    case POOL_MAX_INDEX: memcpy(to, &index, 4); break;
    case POOL_AVERAGE: *to = sum / (float)counted; break;
    default: *to = s->p == 1 ? sum : v_pow(v_splat(sum), v_splat(1 / (float)s->p))[0];
  }
}

static void f32_window_pool(const context *c, const void *step, int thread, int threads) {
  const window_pool_step *s = step;
  FOR_PLACES(&s->space, 5, p) {
    const float *in = start_of(c, &s->in) + p.index[0] * s->in.strides[0] + p.index[1] * s->in.strides[1];
    int64_t plane = (int64_t)p.index[0] * s->space.sizes[1] + p.index[1];
    pool_window(s, in, &p, plane, start_of(c, &s->out) + offset_of(&p, 5, s->out.strides));
  }
}

#endif
