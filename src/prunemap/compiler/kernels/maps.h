/* Everything without weight matrices: copies in and out, phases, pools, sums. All work row by row on planes, so the
 * layouts of input and output need not agree. */
#ifndef PMAP_MAPS_H
#define PMAP_MAPS_H

#include "program.h"

/* --- user's NCHW array <-> planes ------------------------------------------------------------------------------ */
typedef struct {
  const tensor *map;
  int32_t index; /* of the program's inputs or outputs */
} copy_step;

static void f32_copy_in(const context *c, const void *step, int thread, int threads) {
  const copy_step *s = step;
  const tensor *t = s->map;
  FOR_PLANES(c, t) {
    const float *from = c->inputs[s->index] + ((int64_t)n * t->channels + ch) * t->height * t->width;
    for (int y = 0; y < t->height; y++)
      memcpy(row_of(c, t, n, ch, y), from + y * t->width, sizeof(float) * (size_t)t->width);
    zero_around_rows(t, plane_of(c, t, n, ch));
  }
}

static void f32_copy_out(const context *c, const void *step, int thread, int threads) {
  const copy_step *s = step;
  const tensor *t = s->map;
  context from = *c;
  if (t->constant) from.arena = (float *)c->blob;
  FOR_PLANES(c, t) {
    float *to = c->outputs[s->index] + ((int64_t)n * t->channels + ch) * t->height * t->width;
    for (int y = 0; y < t->height; y++)
      memcpy(to + y * t->width, row_of(&from, t, n, ch, y), sizeof(float) * (size_t)t->width);
  }
}

/* --- planes -> one vector per image ---------------------------------------------------------------------------- */
typedef struct {
  const tensor *in, *out;
} unary_step;

static void f32_flatten(const context *c, const void *step, int thread, int threads) {
  const unary_step *s = step;
  const tensor *t = s->in;
  FOR_PLANES(c, t) {
    float *to = plane_of(c, s->out, n, ch * t->height * t->width);
    for (int y = 0; y < t->height; y++)
      memcpy(to + y * t->width, row_of(c, t, n, ch, y), sizeof(float) * (size_t)t->width);
  }
}

/* --- a map cut into the phases that a strided conv reads: out plane p*C + c, element (y, x) = in (y*sh+py, x*sw+px) - */
typedef struct {
  const tensor *in, *out;
  int32_t stride_y, stride_x;
  int64_t phases; /* (py, px) per phase */
} phases_step;

/* Cut one phase out of a plane, row by row from the top. A vector may run past the end of its row: it is zero there, and
 * the next row overwrites it. */
INLINE void cut_phase(const tensor *in, const float *plane, const tensor *out, float *to_plane, const int32_t *phase,
                      int stride_y, int stride_x) {
  int py = phase[0], px = phase[1], pitch = out->pitch, columns = (in->width - px + stride_x - 1) / stride_x;
  zero_floats(to_plane, out->origin);
  for (int y = 0; y < out->height; y++) {
    int from_y = y * stride_y + py, x = 0, width = from_y < in->height ? columns : 0;
    const float *from = plane + in->origin + (int64_t)from_y * in->pitch + px;
    float *to = to_plane + out->origin + (int64_t)y * pitch, *last = to_plane + out->plane - LANES;
    if (stride_x == 2) /* what a stage is wider than the row is not loaded */
      for (; x < width && to + x <= last; x += LANES)
        v_store(to + x, v_first(v_even(v_load(from + 2 * x), v_load(from + 2 * x + LANES)), width - x));
    for (; x < width; x++) to[x] = from[(int64_t)x * stride_x];
    zero_floats(to + x, pitch - x);
  }
  int end = out->origin + out->height * pitch;
  zero_floats(to_plane + end, out->plane - end);
}

/* Channel by channel: its plane is read once from where it lies, for the other phases from L1. */
static void f32_phases(const context *c, const void *step, int thread, int threads) {
  const phases_step *s = step;
  const int32_t *phases = in_blob(c, s->phases);
  int channels = s->in->channels, count = s->out->channels / channels;
  FOR_PLANES(c, s->in) {
    const float *plane = plane_of(c, s->in, n, ch);
    for (int k = 0; k < count; k++)
      cut_phase(s->in, plane, s->out, plane_of(c, s->out, n, k * channels + ch), phases + 2 * k, s->stride_y, s->stride_x);
  }
}

/* --- pools: windows are clipped at the borders, the halo is never read ----------------------------------------- */
typedef struct {
  const tensor *in, *out;
  int32_t kernel_y, kernel_x, stride_y, stride_x, top, left, bottom, right, count_pads;
} pool_step;

INLINE int at_least(int a, int b) { return a > b ? a : b; }
INLINE int at_most(int a, int b) { return a < b ? a : b; }

INLINE vfloat pool_two(vfloat a, vfloat b, int is_max) {
  if (is_max) return v_select(a < b, b, a);
  return a + b;
}

/* The windows of one output row, over all columns of the input and its padding: lines[x] = the largest of, or the sum
 * over, the rows y0 .. y1 of column x - left; padding is `empty`, what changes nothing. Whole vectors are written. */
INLINE void pool_rows(const context *c, const pool_step *s, int n, int ch, int y0, int y1, float *lines, int is_max) {
  const tensor *t = s->in;
  const float *first = row_of(c, t, n, ch, y0);
  vfloat empty = v_splat(is_max ? -__builtin_inff() : 0);
  for (int x = 0; x < t->width; x += LANES) {
    vfloat y = v_load(first + x);
    for (int row = 1; row < y1 - y0; row++) {
      vfloat z = v_load(first + (int64_t)row * t->pitch + x);
      y = pool_two(y, z, is_max);
    }
    v_store(lines + s->left + x, y);
  }
  for (int x = 0; x < s->right + LANES; x += LANES) v_store(lines + s->left + t->width + x, empty);
}

/* The windows that start at column x, x + stride_x, ...: LANES of them. */
INLINE vfloat pool_columns(const pool_step *s, const float *lines, int x, int is_max) {
  int vectors = s->stride_x == 2 ? 2 : 1;
  vfloat y[2] = {v_load(lines + x), v_load(lines + x + LANES)};
  for (int k = 1; k < s->kernel_x; k++)
    for (int i = 0; i < vectors; i++) {
      vfloat z = v_load(lines + x + k + i * LANES);
      y[i] = pool_two(y[i], z, is_max);
    }
  return vectors == 2 ? v_even(y[0], y[1]) : y[0];
}

/* One output row. A vector that would pass its end starts earlier instead, unless the row is shorter than a vector. */
INLINE void pool_line(const pool_step *s, const float *lines, float *to, int rows, const float *columns, int is_max) {
  int width = s->out->width;
  for (int x = 0; x < width; x += LANES) {
    if (x + LANES > width && width >= LANES) x = width - LANES;
    vfloat y;
    if (s->stride_x <= 2) y = pool_columns(s, lines, x * s->stride_x, is_max);
    else
      for (int i = 0; i < LANES; i++) y[i] = pool_columns(s, lines, at_most(x + i, width - 1) * s->stride_x, is_max)[0];
    if (!is_max) y /= v_load(columns + x) * v_splat((float)rows);
    if (width >= LANES) v_store(to + x, y);
    else
      for (int i = 0; i < width; i++) to[i] = y[i];
  }
}

INLINE void pool(const context *c, const pool_step *s, int thread, int threads, int is_max) {
  const tensor *t = s->in, *out = s->out;
  float *lines = c->scratch + (int64_t)thread * c->scratch_floats; /* in whole vectors, and some more at their end */
  float *columns = lines + s->left + t->width + s->right + s->kernel_x + 3 * LANES;
  for (int x = 0; x < s->left; x++) lines[x] = is_max ? -__builtin_inff() : 0;
  for (int x = 0; x < out->width + LANES; x++) { /* how many columns of the window count */
    int left = x * s->stride_x - s->left, end = t->width + (s->count_pads ? s->right : 0);
    columns[x] = (float)(at_most(left + s->kernel_x, end) - (s->count_pads ? left : at_least(left, 0)));
  }
  FOR_PLANES(c, out) {
    for (int y = 0; y < out->height; y++) {
      int top = y * s->stride_y - s->top, y0 = at_least(top, 0), y1 = at_most(top + s->kernel_y, t->height);
      int rows = s->count_pads ? at_most(top + s->kernel_y, t->height + s->bottom) - top : y1 - y0;
      pool_rows(c, s, n, ch, y0, y1, lines, is_max);
      pool_line(s, lines, row_of(c, out, n, ch, y), rows, columns, is_max);
    }
    zero_around_rows(out, plane_of(c, out, n, ch));
  }
}

static void f32_max_pool(const context *c, const void *step, int thread, int threads) { pool(c, step, thread, threads, 1); }
static void f32_average_pool(const context *c, const void *step, int thread, int threads) {
  pool(c, step, thread, threads, 0);
}

static void f32_global_average_pool(const context *c, const void *step, int thread, int threads) {
  const unary_step *s = step;
  const tensor *t = s->in;
  FOR_PLANES(c, t) {
    /* The columns between the rows are zero where there are any: all rows are summed as one. */
    const float *pixels = row_of(c, t, n, ch, 0);
    int count = (t->height - 1) * t->pitch + t->width, i = 0;
    vfloat sums = {0};
    float sum = 0;
    for (; i + LANES <= count; i += LANES) sums += v_load(pixels + i);
    for (; i < count; i++) sum += pixels[i];
    for (i = 0; i < LANES; i++) sum += sums[i];
    *row_of(c, s->out, n, ch, 0) = sum / (float)(t->height * t->width);
    zero_around_rows(s->out, plane_of(c, s->out, n, ch));
  }
}

/* --- y = clamp(a * scale[c] + shift[c] (+ b)) ------------------------------------------------------------------ */
typedef struct {
  const tensor *in, *other, *out;
  int64_t scale, shift;
  float low, high;
} pointwise_step;

static void f32_pointwise(const context *c, const void *step, int thread, int threads) {
  const pointwise_step *s = step;
  const float *scales = in_blob(c, s->scale), *shifts = in_blob(c, s->shift);
  FOR_PLANES(c, s->out) {
    float scale = scales ? scales[ch] : 1, shift = shifts ? shifts[ch] : 0;
    for (int y = 0; y < s->out->height; y++) {
      const float *a = row_of(c, s->in, n, ch, y), *b = s->other ? row_of(c, s->other, n, ch, y) : 0;
      float *to = row_of(c, s->out, n, ch, y);
      for (int x = 0; x < s->out->width; x++)
        to[x] = f_clamp(a[x] * scale + shift + (b ? b[x] : 0), s->low, s->high);
    }
    zero_around_rows(s->out, plane_of(c, s->out, n, ch));
  }
}

#endif
