/* Functions of rows: reductions, softmax, normalising, sorting. A row is what lies along some axes; one that is not dense
 * in memory is copied to the thread's scratch first, and its result from there. */
#ifndef PMAP_ROWS_H
#define PMAP_ROWS_H

#include "math.h"
#include "strided.h"

/* x has n elements, y room for m; both may be read or written up to a whole vector. */
typedef void (*row_function)(const float *x, int n, float *y, int m, const float *parameters);

typedef struct {
  space space, in_row, out_row; /* of the rows, and inside of one */
  operand out, in;
  int64_t in_strides[AXES], out_strides[AXES]; /* inside of a row */
  row_function function;
  int32_t n, m;
  int32_t in_dense, out_dense;
  float parameters[2];
} rows_step;

INLINE int rounded_up(int n) { return (n + LANES - 1) / LANES * LANES; }

static void copy_row(const space *s, const float *from, const int64_t *strides, float *to) {
  place p = {{0}};
  int last = s->axes - 1, n = s->sizes[last];
  for (int64_t rows = rows_of(s); rows > 0; rows--, next_place(s, last, &p)) {
    const float *start = from + offset_of(&p, last, strides);
    for (int i = 0; i < n; i++) *to++ = start[i * strides[last]];
  }
}

static void put_row(const space *s, const float *from, float *to, const int64_t *strides) {
  place p = {{0}};
  int last = s->axes - 1, n = s->sizes[last];
  for (int64_t rows = rows_of(s); rows > 0; rows--, next_place(s, last, &p)) {
    float *start = to + offset_of(&p, last, strides);
    for (int i = 0; i < n; i++) start[i * strides[last]] = *from++;
  }
}

static void f32_rows(const context *c, const void *step, int thread, int threads) {
  const rows_step *s = step;
  float *x = c->scratch + thread * c->scratch_floats, *y = x + rounded_up(s->n);
  FOR_PLACES(&s->space, s->space.axes, p) {
    const float *from = start_of(c, &s->in) + offset_of(&p, s->space.axes, s->in.strides);
    float *to = start_of(c, &s->out) + offset_of(&p, s->space.axes, s->out.strides);
    if (!s->in_dense) copy_row(&s->in_row, from, s->in_strides, x);
    s->function(s->in_dense ? from : x, s->n, y, s->m, s->parameters);
    if (s->out_dense) memcpy(to, y, sizeof(float) * (size_t)s->m);
    else put_row(&s->out_row, y, to, s->out_strides);
  }
}

/* The vector at i of a row, `other` behind its end. */
INLINE vfloat row_at(const float *x, int i, int n, float other) {
  vfloat v = v_load(x + i);
  if (i + LANES <= n) return v;
  vint lane;
  UNROLL for (int l = 0; l < LANES; l++) lane[l] = l;
  return v_select(lane < n - i - (vint){0}, v, v_splat(other));
}

/* Fold a row: FOLD(sums, v) for every vector v, then over the lanes. Four chains side by side. */
#define ROW_FOLD(name, START, FOLD)                                                                                   \
  INLINE float name(const float *x, int n, float shift) {                                                              \
    (void)shift;                                                                                                       \
    vfloat a[4];                                                                                                       \
    UNROLL for (int k = 0; k < 4; k++) a[k] = v_splat(START);                                                          \
    int i = 0;                                                                                                         \
    for (; i + 4 * LANES <= n; i += 4 * LANES)                                                                         \
      UNROLL for (int k = 0; k < 4; k++) {                                                                             \
        vfloat v = v_load(x + i + k * LANES);                                                                          \
        a[k] = FOLD(a[k], v);                                                                                          \
      }                                                                                                                \
    for (; i + LANES <= n; i += LANES) {                                                                               \
      vfloat v = v_load(x + i);                                                                                        \
      a[0] = FOLD(a[0], v);                                                                                            \
    }                                                                                                                  \
    if (i < n) {                                                                                                       \
      vfloat v = v_load(x + i), folded = FOLD(a[0], v);                                                                \
      UNROLL for (int l = 0; l < LANES; l++) a[0][l] = i + l < n ? folded[l] : a[0][l];                                \
    }                                                                                                                  \
    return name##_over(a);                                                                                             \
  }
#define FOLD_LANES(name, JOIN)                                                                                        \
  INLINE float name##_over(const vfloat *a) {                                                                          \
    float y[4 * LANES];                                                                                                \
    UNROLL for (int k = 0; k < 4; k++) v_store(y + k * LANES, a[k]);                                                   \
    for (int width = 2 * LANES; width > 0; width /= 2)                                                                 \
      for (int l = 0; l < width; l++) y[l] = JOIN(y[l], y[l + width]);                                                 \
    return y[0];                                                                                                       \
  }
#define JOIN_SUM(a, b) ((a) + (b))
#define JOIN_PRODUCT(a, b) ((a) * (b))
#define JOIN_MAX(a, b) ((b) > (a) || (b) != (b) ? (b) : (a))
#define JOIN_MIN(a, b) ((b) < (a) || (b) != (b) ? (b) : (a))
#define FOLD_SUM(a, v) ((a) + (v))
#define FOLD_PRODUCT(a, v) ((a) * (v))
#define FOLD_ABSOLUTE(a, v) ((a) + v_abs(v))
#define FOLD_SQUARE(a, v) ((a) + (v) * (v))
#define FOLD_SPREAD(a, v) ((a) + ((v) - v_splat(shift)) * ((v) - v_splat(shift)))
#define FOLD_EXP(a, v) ((a) + v_exp((v) - v_splat(shift)))
FOLD_LANES(sum_of, JOIN_SUM)
FOLD_LANES(product_of, JOIN_PRODUCT)
FOLD_LANES(absolutes_of, JOIN_SUM)
FOLD_LANES(squares_of, JOIN_SUM)
FOLD_LANES(spread_of, JOIN_SUM)
FOLD_LANES(exps_of, JOIN_SUM)
FOLD_LANES(largest_of, JOIN_MAX)
FOLD_LANES(smallest_of, JOIN_MIN)
ROW_FOLD(sum_of, 0, FOLD_SUM)
ROW_FOLD(product_of, 1, FOLD_PRODUCT)
ROW_FOLD(absolutes_of, 0, FOLD_ABSOLUTE)
ROW_FOLD(squares_of, 0, FOLD_SQUARE)
ROW_FOLD(spread_of, 0, FOLD_SPREAD)
ROW_FOLD(exps_of, 0, FOLD_EXP)
ROW_FOLD(largest_of, -__builtin_inff(), v_max)
ROW_FOLD(smallest_of, __builtin_inff(), v_min)

#define ROW(name) static void row_##name(const float *x, int n, float *y, int m, const float *parameters)
#define ROW_START (void)x, (void)n, (void)m, (void)parameters
#define ROW_REDUCTION(name, VALUE)                                                                                    \
  ROW(name) {                                                                                                          \
    ROW_START;                                                                                                         \
    y[0] = VALUE;                                                                                                      \
  }
INLINE float root_of(float x) { return v_sqrt(v_splat(x))[0]; }
INLINE float log_of(float x) { return v_log(v_splat(x))[0]; }
INLINE float finite_or_zero(float x) { return x - x == 0 ? x : 0; }
INLINE float log_sum_exp_of(const float *x, int n) {
  float top = finite_or_zero(largest_of(x, n, 0));
  return log_of(exps_of(x, n, top)) + top;
}
ROW_REDUCTION(sum, sum_of(x, n, 0))
ROW_REDUCTION(mean, sum_of(x, n, 0) / (float)n)
ROW_REDUCTION(max, largest_of(x, n, 0))
ROW_REDUCTION(min, smallest_of(x, n, 0))
ROW_REDUCTION(prod, product_of(x, n, 0))
ROW_REDUCTION(l1, absolutes_of(x, n, 0))
ROW_REDUCTION(l2, root_of(squares_of(x, n, 0)))
ROW_REDUCTION(sum_square, squares_of(x, n, 0))
ROW_REDUCTION(log_sum, log_of(sum_of(x, n, 0)))
ROW_REDUCTION(log_sum_exp, log_sum_exp_of(x, n))

ROW(softmax) {
  ROW_START;
  float top = largest_of(x, n, 0);
  vfloat sums[4] = {{0}};
  for (int i = 0; i < n; i += LANES) {
    vfloat e = v_exp(row_at(x, i, n, -__builtin_inff()) - v_splat(top));
    v_store(y + i, e);
    sums[0] += e;
  }
  vfloat factor = v_splat(1 / sum_of_over(sums));
  for (int i = 0; i < n; i += LANES) v_store(y + i, v_load(y + i) * factor);
}

ROW(log_softmax) {
  ROW_START;
  vfloat shift = v_splat(log_sum_exp_of(x, n));
  for (int i = 0; i < n; i += LANES) v_store(y + i, v_load(x + i) - shift);
}

ROW(normalize) { /* parameters: epsilon */
  ROW_START;
  float mean = sum_of(x, n, 0) / (float)n;
  vfloat shift = v_splat(mean), factor = v_splat(1 / root_of(spread_of(x, n, mean) / (float)n + parameters[0]));
  for (int i = 0; i < n; i += LANES) v_store(y + i, (v_load(x + i) - shift) * factor);
}

ROW(cumulative_sum) { /* parameters: exclusive, reverse */
  ROW_START;
  float sum = 0;
  for (int k = 0; k < n; k++) {
    int i = parameters[1] != 0 ? n - 1 - k : k;
    y[i] = parameters[0] != 0 ? sum : sum + x[i];
    sum += x[i];
  }
}

INLINE void put_index(float *y, int index) { memcpy(y, &index, 4); }
INLINE int is_better(float a, float b, int largest) { return largest ? a > b : a < b; }

INLINE void best_place(const float *x, int n, float *y, int largest, int last) {
  int best = 0;
  for (int i = 1; i < n; i++)
    if (is_better(x[i], x[best], largest) || (last && x[i] == x[best])) best = i;
  put_index(y, best);
}
ROW(argmax) { /* parameters: the last of equals? */
  ROW_START;
  best_place(x, n, y, 1, parameters[0] != 0);
}
ROW(argmin) {
  ROW_START;
  best_place(x, n, y, 0, parameters[0] != 0);
}

ROW(top) { /* parameters: k, the largest?; the best first, of equals the earlier first */
  ROW_START;
  int largest = parameters[1] != 0, count = 0;
  for (int i = 0; i < n; i++) {
    int at = count;
    for (; at > 0; at--) {
      int32_t before;
      memcpy(&before, y + at - 1, 4);
      if (!is_better(x[i], x[before], largest)) break;
    }
    if (at >= m) continue;
    int end = count < m ? count : m - 1;
    memmove(y + at + 1, y + at, sizeof(float) * (size_t)(end - at));
    put_index(y + at, i);
    count = end + 1;
  }
}

#endif
