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
    if (stride_x == 2 && width)
      for (; x < pitch && to + x <= last; x += LANES)
        v_store(to + x, v_first(v_even(v_load(from + 2 * x), v_load(from + 2 * x + LANES)), width - x));
    for (; x < width; x++) to[x] = from[(int64_t)x * stride_x];
    for (; x < pitch; x++) to[x] = 0;
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

static void f32_max_pool(const context *c, const void *step, int thread, int threads) {
  const pool_step *s = step;
  const tensor *t = s->in;
  int columns = s->left + t->width + s->right;
  float lines[columns], wide[columns]; /* largest of the window's rows, column by column; of its columns too */
  for (int x = 0; x < columns; x++) lines[x] = -__builtin_inff();
  float *best = lines + s->left;
  FOR_PLANES(c, s->out) {
    for (int y = 0; y < s->out->height; y++) {
      float *to = row_of(c, s->out, n, ch, y);
      int y0 = at_least(y * s->stride_y - s->top, 0), y1 = at_most(y * s->stride_y - s->top + s->kernel_y, t->height);
      memcpy(best, row_of(c, t, n, ch, y0), sizeof(float) * (size_t)t->width);
      for (int yy = y0 + 1; yy < y1; yy++) {
        const float *row = row_of(c, t, n, ch, yy);
        for (int x = 0; x < t->width; x++) best[x] = best[x] < row[x] ? row[x] : best[x];
      }
      int last = columns - s->kernel_x + 1;
      memcpy(wide, lines, sizeof(float) * (size_t)last);
      for (int k = 1; k < s->kernel_x; k++)
        for (int x = 0; x < last; x++) wide[x] = wide[x] < lines[x + k] ? lines[x + k] : wide[x];
      if (s->stride_x == 2)
        for (int x = 0; x < s->out->width; x++) to[x] = wide[2 * x];
      else
        for (int x = 0; x < s->out->width; x++) to[x] = wide[x * s->stride_x];
    }
    zero_around_rows(s->out, plane_of(c, s->out, n, ch));
  }
}

static void f32_average_pool(const context *c, const void *step, int thread, int threads) {
  const pool_step *s = step;
  const tensor *t = s->in;
  FOR_PLANES(c, s->out) {
    for (int y = 0; y < s->out->height; y++) {
      float *to = row_of(c, s->out, n, ch, y);
      int top = y * s->stride_y - s->top, y0 = at_least(top, 0), y1 = at_most(top + s->kernel_y, t->height);
      int rows = s->count_pads ? at_most(top + s->kernel_y, t->height + s->bottom) - top : y1 - y0;
      for (int x = 0; x < s->out->width; x++) {
        int left = x * s->stride_x - s->left, x0 = at_least(left, 0), x1 = at_most(left + s->kernel_x, t->width);
        int cols = s->count_pads ? at_most(left + s->kernel_x, t->width + s->right) - left : x1 - x0;
        float sum = 0;
        for (int yy = y0; yy < y1; yy++)
          for (int xx = x0; xx < x1; xx++) sum += row_of(c, t, n, ch, yy)[xx];
        to[x] = sum / (float)(rows * cols);
      }
    }
    zero_around_rows(s->out, plane_of(c, s->out, n, ch));
  }
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
