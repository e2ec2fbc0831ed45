/* Moving by known places: y[i0, i1, …] = x[t0[i0] + t1[i1] + …], or a fill value where any table says so. */
#ifndef PMAP_REMAP_H
#define PMAP_REMAP_H

#include "strided.h"

#define OUTSIDE INT32_MIN

typedef struct {
  space space;
  operand out, in; /* the strides of `in` are not used: the tables say where its elements lie */
  int64_t tables[AXES]; /* per axis, offsets in floats or OUTSIDE */
  int32_t fill; /* the bits of the value */
  int32_t run_begin, run_end; /* neighbours in x for these places of the last axis, fill before and behind; else 0, 0 */
} remap_step;

INLINE void fill_floats(float *p, int count, int32_t bits) {
  for (int i = 0; i < count; i++) memcpy(p + i, &bits, 4);
}

static void f32_remap(const context *c, const void *step, int thread, int threads) {
  const remap_step *s = step;
  int last = s->space.axes - 1, n = s->space.sizes[last];
  const int32_t *inner = in_blob(c, s->tables[last]);
  const float *in = start_of(c, &s->in);
  float *out = start_of(c, &s->out);
  int64_t stride = s->out.strides[last];
  float fill;
  memcpy(&fill, &s->fill, 4);
  FOR_PLACES(&s->space, last, p) {
    int64_t from = 0;
    int outside = 0;
    for (int i = 0; i < last; i++) {
      int32_t offset = ((const int32_t *)in_blob(c, s->tables[i]))[p.index[i]];
      outside |= offset == OUTSIDE;
      from += offset;
    }
    float *to = out + offset_of(&p, last, s->out.strides);
    if (outside) {
      for (int i = 0; i < n; i++) to[i * stride] = fill;
    } else if (s->run_end && stride == 1) {
      fill_floats(to, s->run_begin, s->fill);
      memcpy(to + s->run_begin, in + from + inner[s->run_begin], sizeof(float) * (size_t)(s->run_end - s->run_begin));
      fill_floats(to + s->run_end, n - s->run_end, s->fill);
    } else {
      for (int i = 0; i < n; i++) to[i * stride] = inner[i] == OUTSIDE ? fill : in[from + inner[i]];
    }
  }
}

#endif
