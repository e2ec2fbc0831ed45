/* One expression; included with NAME, COUNT (operands), INNER (per operand, how its elements lie along the last axis: 0
 * the same one, 1 neighbours, 2 further apart), OUT_INNER (1 or 2) and EXPRESSION (of the vectors x[0], x[1], …) defined.
 *
 *   y[p] = EXPRESSION(x_0[p], x_1[p], …)   for every place p of the space */
static void NAME(_stretch)(const elementwise_step *s, float *out, const float *const *in, int n) {
  static const int inner[] = INNER;
  int last = s->space.axes - 1;
  int64_t out_stride = s->out.strides[last];
  (void)in, (void)inner;
  for (int i = 0; i < n; i += LANES) {
    vfloat x[COUNT + 1] = {{0}};
    int count = n - i < LANES ? n - i : LANES;
    UNROLL for (int k = 0; k < COUNT; k++) {
      int64_t stride = s->in[k].strides[last];
      if (inner[k] == 0) x[k] = v_splat_bits(in[k]);
      else if (inner[k] == 1) x[k] = v_load(in[k] + i);
      else if (count == LANES) x[k] = v_load_strided(in[k] + i * stride, stride);
      else UNROLL for (int l = 0; l < LANES; l++) x[k][l] = l < count ? in[k][(i + l) * stride] : 1;
    }
    vfloat y = (vfloat)(EXPRESSION);
    if (OUT_INNER == 1 && count == LANES) v_store(out + i, y);
    else v_store_some(out + i * out_stride, y, out_stride, count);
  }
}

static void NAME()(const context *c, const elementwise_step *s, int thread, int threads) {
  int last = s->space.axes - 1, n = s->space.sizes[last];
  int64_t stretches = (n + STRETCH - 1) / STRETCH;
  range work = share_of(rows_of(&s->space) * stretches, thread, threads);
  float *out = start_of(c, &s->out);
  const float *in[COUNT + 1] = {0};
  for (int k = 0; k < COUNT; k++) in[k] = start_of(c, &s->in[k]);
  place p = place_at(&s->space, last, work.begin / stretches);
  for (int64_t w = work.begin; w < work.end; w++) {
    int begin = (int)(w % stretches) * STRETCH, end = begin + STRETCH < n ? begin + STRETCH : n;
    const float *at[COUNT + 1] = {0};
    for (int k = 0; k < COUNT; k++)
      at[k] = in[k] + offset_of(&p, last, s->in[k].strides) + begin * s->in[k].strides[last];
    NAME(_stretch)(s, out + offset_of(&p, last, s->out.strides) + begin * s->out.strides[last], at, end - begin);
    if ((w + 1) % stretches == 0) next_place(&s->space, last, &p);
  }
}
#undef NAME
#undef COUNT
#undef INNER
#undef OUT_INNER
#undef EXPRESSION
