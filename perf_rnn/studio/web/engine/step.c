// What one step of the network computes, in WebAssembly with 128-bit SIMD.
//
// kernels.js has the same functions in plain JavaScript, and says what they compute. step.wasm is
// built by clang 14 with
//   clang --target=wasm32 -O3 -msimd128 -ffreestanding -nostdlib -Wl,--no-entry
//     -Wl,--import-memory -Wl,--strip-all -o step.wasm step.c

#include <wasm_simd128.h>

#define EXPORT(name) __attribute__((export_name(#name)))
#define TILE 32  // Columns that are summed in registers.

typedef v128_t Four;

static inline Four four(float value) { return wasm_f32x4_splat(value); }

static inline Four multiply_add(Four a, Four b, Four c) {
  return wasm_f32x4_add(wasm_f32x4_mul(a, b), c);
}

// exp(x) = 2^n * exp(r) with |r| <= log(2) / 2, where the Taylor polynomial of degree 7 is exact to
// the rounding of float32.
static inline Four exp4(Four x) {
  x = wasm_f32x4_max(wasm_f32x4_min(x, four(88.0f)), four(-87.0f));
  Four n = wasm_f32x4_nearest(wasm_f32x4_mul(x, four(1.44269504f)));
  // log(2) in two parts: products of n with the first are exact.
  Four r = wasm_f32x4_sub(x, wasm_f32x4_mul(n, four(0.693145752f)));
  r = wasm_f32x4_sub(r, wasm_f32x4_mul(n, four(1.42860677e-6f)));
  Four sum = four(1.0f / 5040);
  sum = multiply_add(sum, r, four(1.0f / 720));
  sum = multiply_add(sum, r, four(1.0f / 120));
  sum = multiply_add(sum, r, four(1.0f / 24));
  sum = multiply_add(sum, r, four(1.0f / 6));
  sum = multiply_add(sum, r, four(0.5f));
  sum = multiply_add(sum, r, four(1.0f));
  sum = multiply_add(sum, r, four(1.0f));
  Four exponent = wasm_i32x4_shl(wasm_i32x4_add(wasm_i32x4_trunc_sat_f32x4(n),
                                                wasm_i32x4_splat(127)), 23);
  return wasm_f32x4_mul(sum, exponent);
}

static inline Four sigmoid4(Four x) {
  return wasm_f32x4_div(four(1.0f), wasm_f32x4_add(four(1.0f), exp4(wasm_f32x4_neg(x))));
}

static inline Four tanh4(Four x) {
  Four size = wasm_f32x4_abs(x);
  Four e = exp4(wasm_f32x4_mul(size, four(-2.0f)));
  Four t = wasm_f32x4_div(wasm_f32x4_sub(four(1.0f), e), wasm_f32x4_add(four(1.0f), e));
  return wasm_v128_or(t, wasm_v128_and(x, wasm_i32x4_splat(0x80000000)));
}

EXPORT(multiply)
void multiply(float* y, const float* x, const float* kernel, int inputs, int outputs) {
  for (int column = 0; column < outputs; column += TILE) {
    Four sum[TILE / 4];
    for (int i = 0; i < TILE / 4; i++) sum[i] = wasm_v128_load(y + column + 4 * i);
    for (int row = 0; row < inputs; row++, kernel += TILE) {
      Four value = wasm_v128_load32_splat(x + row);
      for (int i = 0; i < TILE / 4; i++) {
        sum[i] = multiply_add(wasm_v128_load(kernel + 4 * i), value, sum[i]);
      }
    }
    for (int i = 0; i < TILE / 4; i++) wasm_v128_store(y + column + 4 * i, sum[i]);
  }
}

EXPORT(multiply_two)
void multiply_two(float* y, const float* x, const float* kernel, int inputs, int outputs,
                  int stride) {
  for (int column = 0; column < outputs; column += TILE) {
    Four first[TILE / 4], second[TILE / 4];
    for (int i = 0; i < TILE / 4; i++) {
      first[i] = wasm_v128_load(y + column + 4 * i);
      second[i] = wasm_v128_load(y + stride + column + 4 * i);
    }
    for (int row = 0; row < inputs; row++, kernel += TILE) {
      Four value = wasm_v128_load32_splat(x + row);
      Four other = wasm_v128_load32_splat(x + stride + row);
      for (int i = 0; i < TILE / 4; i++) {
        Four weights = wasm_v128_load(kernel + 4 * i);
        first[i] = multiply_add(weights, value, first[i]);
        second[i] = multiply_add(weights, other, second[i]);
      }
    }
    for (int i = 0; i < TILE / 4; i++) {
      wasm_v128_store(y + column + 4 * i, first[i]);
      wasm_v128_store(y + stride + column + 4 * i, second[i]);
    }
  }
}

EXPORT(update)
void update(float* hidden, float* cell, const float* gates, int units) {
  for (int unit = 0; unit < units; unit += 4) {
    Four input = sigmoid4(wasm_v128_load(gates + unit));
    Four forget = sigmoid4(wasm_v128_load(gates + units + unit));
    Four candidate = tanh4(wasm_v128_load(gates + 2 * units + unit));
    Four output = sigmoid4(wasm_v128_load(gates + 3 * units + unit));
    Four kept = wasm_f32x4_mul(forget, wasm_v128_load(cell + unit));
    kept = multiply_add(input, candidate, kept);
    wasm_v128_store(cell + unit, kept);
    wasm_v128_store(hidden + unit, wasm_f32x4_mul(output, tanh4(kept)));
  }
}

static inline float sum_of(Four values) {
  return wasm_f32x4_extract_lane(values, 0) + wasm_f32x4_extract_lane(values, 1) +
         wasm_f32x4_extract_lane(values, 2) + wasm_f32x4_extract_lane(values, 3);
}

EXPORT(attend)
void attend(float* context, float* weights, const float* memory, const float* features,
            const float* query, const float* score, int length, int width) {
  float largest = -1e30f, total = 0.0f;
  for (int place = 0; place < length; place++) {
    Four sum = four(0.0f);
    for (int i = 0; i < width; i += 4) {
      Four feature = wasm_v128_load(features + place * width + i);
      feature = tanh4(wasm_f32x4_add(feature, wasm_v128_load(query + i)));
      sum = multiply_add(feature, wasm_v128_load(score + i), sum);
    }
    weights[place] = sum_of(sum);
    if (weights[place] > largest) largest = weights[place];
  }
  for (int place = 0; place < length; place++) {
    weights[place] = wasm_f32x4_extract_lane(exp4(four(weights[place] - largest)), 0);
    total += weights[place];
  }
  for (int i = 0; i < width; i += 4) {
    Four sum = four(0.0f);
    for (int place = 0; place < length; place++) {
      sum = multiply_add(four(weights[place]), wasm_v128_load(memory + place * width + i), sum);
    }
    wasm_v128_store(context + i, wasm_f32x4_div(sum, four(total)));
  }
}
