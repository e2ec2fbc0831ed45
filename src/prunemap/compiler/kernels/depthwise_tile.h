/* Depthwise KERNEL x KERNEL, stride STRIDE (1 or 2), HEIGHT x WIDTH outputs: a register tile is ROWS output rows x one
 * vector of VECTOR columns, and a loaded row of the input serves all output rows that it belongs to. Included once per
 * size of map, with NAME and the sizes of program.py's depthwise_tile defined; ROWS <= HEIGHT.
 *
 * Stride 2 takes kernel columns in pairs (the last one of an odd number with a weight of zero beside it): a wide vector
 * of 2 * VECTOR inputs times (w0, w1, w0, w1, ...), whose even and odd lanes are added up at the end.
 *
 * LISTED: a channel has a list of the taps that it keeps (pairs of them, at stride 2), each with loads of its own; one
 * whose list is whole is run like the others.
 *
 * A vector that would pass the end of its row starts earlier instead; where rows are shorter than a vector, what lies
 * past their end is stored as zeros, and overwritten by the next row. */
#define IN_ROWS (STRIDE * (ROWS - 1) + KERNEL)
#define COLUMNS ((KERNEL + STRIDE - 1) / STRIDE)
#define TAPS (KERNEL * COLUMNS)
typedef float NAME(_v) __attribute__((vector_size(VECTOR * 4), aligned(4), may_alias));
typedef int32_t NAME(_i) __attribute__((vector_size(VECTOR * 4)));
typedef float NAME(_wide) __attribute__((vector_size(STRIDE * VECTOR * 4), aligned(4), may_alias));

typedef struct {
  const float *in, *residual, *weights; /* in: what the first output reads first */
  const int32_t *offsets; /* of LISTED taps, from the first of all */
  float *out, bias;
  int taps;
  NAME(_v) low, high;
} NAME(_plane);

#if STRIDE == 1
INLINE NAME(_wide) NAME(_weight)(const float *w) { return *w - (NAME(_wide)){0}; }
INLINE NAME(_v) NAME(_sum)(NAME(_wide) x) { return x; }
#else
INLINE NAME(_wide) NAME(_weight)(const float *w) {
  typedef int64_t pairs __attribute__((vector_size(STRIDE * VECTOR * 4)));
  int64_t pair;
  memcpy(&pair, w, sizeof pair);
  return (NAME(_wide))(pair - (pairs){0});
}
INLINE NAME(_v) NAME(_sum)(NAME(_wide) x) { return V_EVEN(VECTOR, x, x) + V_ODD(VECTOR, x, x); }
#endif

INLINE void NAME(_store)(const NAME(_plane) *p, NAME(_v) *sum, int y, int x) {
  int place = y * PITCH + x;
  if (p->residual)
    UNROLL for (int r = 0; r < ROWS; r++) sum[r] += *(const NAME(_v) *)(p->residual + place + r * PITCH);
  NAME(_i) inside;
  UNROLL for (int j = 0; j < VECTOR; j++) inside[j] = j < WIDTH ? -1 : 0;
  UNROLL for (int r = 0; r < ROWS; r++, place += PITCH) {
    sum[r] = V_AT_LEAST(sum[r], p->low);
    sum[r] = V_AT_MOST(sum[r], p->high);
    if (WIDTH < VECTOR) sum[r] = (NAME(_v))((NAME(_i))sum[r] & inside);
    *(NAME(_v) *)(p->out + place) = sum[r];
    if (x + VECTOR >= WIDTH)
      UNROLL for (int gap = WIDTH < VECTOR ? VECTOR : WIDTH; gap < PITCH; gap++) p->out[place - x + gap] = 0;
  }
}

/* All taps: a loaded row serves every output row that it belongs to. */
INLINE void NAME(_add_all)(const NAME(_plane) *p, const NAME(_wide) *weights, const float *in, NAME(_wide) *acc) {
  UNROLL for (int k = 0; k < COLUMNS; k++)
    UNROLL for (int i = 0; i < IN_ROWS; i++) {
      NAME(_wide) row = *(const NAME(_wide) *)(in + i * IN_PITCH + STRIDE * k);
      UNROLL for (int r = 0; r < ROWS; r++) {
        int ky = i - STRIDE * r;
        if (ky < 0 || ky >= KERNEL) continue;
        int tap = ky * COLUMNS + k;
        acc[r] += row * (WIDTH > VECTOR ? weights[tap] : NAME(_weight)(p->weights + STRIDE * tap));
      }
    }
}

INLINE void NAME(_add_listed)(const NAME(_plane) *p, const float *in, NAME(_wide) *acc) {
  for (int k = 0; k < p->taps; k++) {
    const float *row = in + p->offsets[k];
    NAME(_wide) weight = NAME(_weight)(p->weights + STRIDE * k);
    UNROLL for (int r = 0; r < ROWS; r++) acc[r] += *(const NAME(_wide) *)(row + r * STRIDE * IN_PITCH) * weight;
  }
}

INLINE void NAME(_tile)(const NAME(_plane) *p, const NAME(_wide) *weights, int y, int x, int listed) {
  const float *in = p->in + STRIDE * (y * IN_PITCH + x);
  NAME(_wide) acc[ROWS];
  UNROLL for (int r = 0; r < ROWS; r++) acc[r] = p->bias / STRIDE - (NAME(_wide)){0};
  if (listed) NAME(_add_listed)(p, in, acc);
  else NAME(_add_all)(p, weights, in, acc);
  NAME(_v) sum[ROWS];
  UNROLL for (int r = 0; r < ROWS; r++) sum[r] = NAME(_sum)(acc[r]);
  NAME(_store)(p, sum, y, x);
}

INLINE void NAME(_tiles)(const NAME(_plane) *p, int listed) {
  NAME(_wide) weights[TAPS]; /* once for all tiles where a row takes several; else a tile loads them one by one */
  if (!listed)
    UNROLL for (int k = 0; k < TAPS; k++) weights[k] = NAME(_weight)(p->weights + STRIDE * k);
  for (int y = 0;; y = y + 2 * ROWS <= HEIGHT ? y + ROWS : HEIGHT - ROWS) {
    for (int x = 0;; x = x + 2 * VECTOR <= WIDTH ? x + VECTOR : WIDTH - VECTOR) {
      NAME(_tile)(p, weights, y, x, listed);
      if (x + VECTOR >= WIDTH) break;
    }
    if (y + ROWS == HEIGHT) break;
  }
}

/* Zeros above the first row and from the end of the last one, in whole vectors: before the rows are written. */
INLINE void NAME(_zero_around)(float *plane) {
  if (!HALO) return;
  for (int i = 0; i < ORIGIN; i += LANES) v_store(plane + i, (vfloat){0});
  for (int i = PLANE; i > ORIGIN + (HEIGHT - 1) * PITCH + WIDTH; i -= LANES) v_store(plane + i - LANES, (vfloat){0});
}

static void NAME()(const context *c, const depthwise_step *s, int thread, int image, range channels) {
  (void)thread;
  const int32_t *starts = in_blob(c, s->starts), *offsets = in_blob(c, s->offsets);
  const float *in = row_of(c, s->in, image, 0, 0) + *offsets++; /* the first tap; then, of LISTED ones, how far from it */
  const float *residual = s->residual ? row_of(c, s->residual, image, 0, 0) : 0;
  float *out = plane_of(c, s->out, image, 0);
  const float *weights = in_blob(c, s->weights), *bias = in_blob(c, s->bias);
  int64_t residual_plane = s->residual ? s->residual->plane : 0;
  int multiplier = s->multiplier;
  NAME(_plane) p = {.low = s->low - (NAME(_v)){0}, .high = s->high - (NAME(_v)){0}};
  for (int ch = channels.begin; ch < channels.end; ch++) {
    float *plane = out + (int64_t)ch * PLANE;
    NAME(_zero_around)(plane);
    p.in = in + (int64_t)(multiplier == 1 ? ch : ch / multiplier) * IN_PLANE; /* a division takes as long as a tile */
    p.out = plane + ORIGIN;
    p.residual = residual ? residual + ch * residual_plane : 0;
    int first = LISTED ? starts[ch] : ch * TAPS;
    p.weights = weights + (int64_t)first * STRIDE;
    p.offsets = offsets + first;
    p.taps = LISTED ? starts[ch + 1] - first : TAPS;
    p.bias = bias[ch];
    if (LISTED && p.taps < TAPS) NAME(_tiles)(&p, 1);
    else NAME(_tiles)(&p, 0);
  }
}
#undef NAME
#undef KERNEL
#undef LISTED
#undef STRIDE
#undef HEIGHT
#undef WIDTH
#undef IN_PITCH
#undef IN_PLANE
#undef PITCH
#undef PLANE
#undef ORIGIN
#undef HALO
#undef ROWS
#undef VECTOR
#undef IN_ROWS
#undef COLUMNS
#undef TAPS
