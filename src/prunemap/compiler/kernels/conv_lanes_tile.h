/* The other family of conv.h: filters in the lanes, for maps that do not fill vectors of pixels. One register tile is
 * ROWS x COLS pixels x FILTERS lanes: a unit loads its FILTERS weights once, every pixel is broadcast. Included once per
 * tile with NAME, FILTERS, ROWS, COLS, INDEX and STEP defined. A strip is an output row; COLS divides the width. */
INLINE void NAME(_tile)(const conv_step *s, const conv_pointers *p, int group, int64_t place) {
  typedef float lanes __attribute__((vector_size(FILTERS * 4), aligned(4), may_alias));
  typedef int32_t lanes_int __attribute__((vector_size(FILTERS * 4), aligned(4), may_alias));
  lanes acc[ROWS][COLS] = {0};
  int pitch = s->out->pitch;
  const float *x = p->in + place, *w = p->weights + (int64_t)p->starts[group] * FILTERS;
  const INDEX *steps = (const INDEX *)p->indices;
  for (int u = p->starts[group]; u < p->starts[group + 1]; u++, w += FILTERS) {
    x += (int64_t)steps[u] * STEP;
    lanes weight = *(const lanes *)w;
    UNROLL for (int r = 0; r < ROWS; r++)
      UNROLL for (int c = 0; c < COLS; c++) acc[r][c] += weight * x[(int64_t)r * pitch + c];
  }
  lanes bias = *(const lanes *)(p->bias + group * FILTERS), low = s->low - (lanes){0}, high = s->high - (lanes){0};
  const int32_t *rows = p->rows + group * FILTERS;
  float pixels[ROWS * COLS][FILTERS];
  if (p->residual)
    for (int f = 0; f < FILTERS; f++) {
      if (rows[f] < 0) continue;
      const float *residual = p->residual + (int64_t)rows[f] * s->residual->plane + place;
      UNROLL for (int r = 0; r < ROWS; r++)
        UNROLL for (int c = 0; c < COLS; c++) pixels[r * COLS + c][f] = residual[(int64_t)r * pitch + c];
    }
  UNROLL for (int r = 0; r < ROWS; r++)
    UNROLL for (int c = 0; c < COLS; c++) {
      lanes *pixel = (lanes *)pixels[r * COLS + c], y = acc[r][c] + bias;
      if (p->residual) y += *pixel;
      y = (lanes)(((low > y) & (lanes_int)low) | (~(low > y) & (lanes_int)y));
      *pixel = (lanes)(((high < y) & (lanes_int)high) | (~(high < y) & (lanes_int)y));
    }
  for (int f = 0; f < FILTERS; f += 4) {
    UNROLL for (int r = 0; r < ROWS; r++) {
      float *out = p->out + place + (int64_t)r * pitch;
      int c = 0;
      UNROLL for (; c + 4 <= COLS; c += 4) {
        quad q[4];
        UNROLL for (int i = 0; i < 4; i++) q[i] = *(quad *)(pixels[r * COLS + c + i] + f);
        transpose_quads(q);
        UNROLL for (int i = 0; i < 4; i++)
          if (rows[f + i] >= 0) *(quad *)(out + (int64_t)rows[f + i] * s->out->plane + c) = q[i];
      }
      UNROLL for (; c < COLS; c++)
        UNROLL for (int i = 0; i < 4; i++)
          if (rows[f + i] >= 0) out[(int64_t)rows[f + i] * s->out->plane + c] = pixels[r * COLS + c][f + i];
    }
  }
}

static void NAME()(const conv_step *s, const conv_pointers *p, range groups, range strips) {
  int pitch = s->out->pitch, width = s->out->width;
  if (s->pixels_outer) {
    for (int y = strips.begin; y < strips.end; y += ROWS)
      for (int x = 0; x < width; x += COLS)
        for (int g = groups.begin; g < groups.end; g++) NAME(_tile)(s, p, g, (int64_t)y * pitch + x);
  } else {
    for (int g = groups.begin; g < groups.end; g++)
      for (int y = strips.begin; y < strips.end; y += ROWS)
        for (int x = 0; x < width; x += COLS) NAME(_tile)(s, p, g, (int64_t)y * pitch + x);
  }
}
#undef NAME
#undef FILTERS
#undef ROWS
#undef COLS
#undef INDEX
#undef STEP
