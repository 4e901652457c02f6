/* What happens between matrix products of bfloat16 or of whole numbers: one step of an LSTM's cell, there
 * and back, the softmax, and the way into whole numbers. In: arrays that the caller owns. Out: the same arrays, written.
 *
 * Plain C that any compiler turns into vector instructions; no header but two of the standard's own.
 * Sums take a fixed order, so results do not depend on how rows are shared among threads.
 */

#include <stdint.h>
#include <string.h>

typedef uint16_t bf16; /* the upper half of a float */

/* ---------------------------------------------------------------- numbers */

static inline uint32_t bits_of(float x) { uint32_t u; memcpy(&u, &x, sizeof u); return u; }
static inline float from_bits(uint32_t u) { float x; memcpy(&x, &u, sizeof x); return x; }

static inline float widen(bf16 x) { return from_bits((uint32_t)x << 16); }

/* Round to the nearest, ties to even; not-a-number stays one. */
static inline bf16 narrow(float x)
{
    uint32_t u = bits_of(x);
    uint32_t rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
    return (bf16)(x == x ? rounded : 0x7fc0);
}

/* exp(x) = power * (1 + series), in the two parts that exp(x) and exp(x) - 1 both need.
 *
 * x = n ln 2 + r with a whole n: power is 2^n, and series is Taylor's for e^r - 1, as |r| < 0.35.
 * Adding 1.5 * 2^23 rounds to a whole number, which the lowest bits then hold. An x beyond the bounds
 * counts as the bound: e^-87 is next to nothing, and e^87 is as good as infinite for what follows.
 */
typedef struct { float power, series; } exponent;

static inline exponent split(float x)
{
    const float shift = 12582912.0f;
    x = x < -87.0f ? -87.0f : x;
    x = x > 87.0f ? 87.0f : x;
    float shifted = x * 1.44269504f + shift;
    float n = shifted - shift;
    float r = (x - n * 0.693359375f) + n * 2.12194440e-4f; /* ln 2 in two parts */
    float series = 1.0f / 5040;
    series = series * r + 1.0f / 720;
    series = series * r + 1.0f / 120;
    series = series * r + 1.0f / 24;
    series = series * r + 1.0f / 6;
    series = series * r + 0.5f;
    exponent e = {from_bits((bits_of(shifted) - bits_of(shift) + 127) << 23), series * r * r + r};
    return e;
}

static inline float exponential(float x)
{
    exponent e = split(x);
    return e.power + e.power * e.series;
}

static inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

/* tanh(x) = m / (m + 2) with m = exp(2x) - 1, which keeps all digits of an x near zero. */
static inline float tangent(float x)
{
    exponent e = split(2.0f * x);
    float m = e.power * e.series + (e.power - 1.0f);
    return m / (m + 2.0f);
}

/* ---------------------------------------------------------------- the cell of an LSTM */

/* One step forward. `gates` are (rows, 4, units) before their activation: input, forget, cell, output.
 * `kept` takes them after it for the way back, and may be `gates` itself; `after` may be `before`.
 */
void cell_forward(int64_t rows, int64_t units, const bf16 *gates, bf16 *kept,
                  const float *before, float *after, bf16 *hidden)
{
    for (int64_t row = 0; row < rows; row++) {
        const bf16 *in = gates + row * 4 * units;
        bf16 *out = kept + row * 4 * units;
#pragma GCC ivdep
        for (int64_t u = 0; u < units; u++) {
            float i = sigmoid(widen(in[u]));
            float f = sigmoid(widen(in[u + units]));
            float g = tangent(widen(in[u + 2 * units]));
            float o = sigmoid(widen(in[u + 3 * units]));
            float cell = f * before[row * units + u] + i * g;
            after[row * units + u] = cell;
            hidden[row * units + u] = narrow(o * tangent(cell));
            out[u] = narrow(i);
            out[u + units] = narrow(f);
            out[u + 2 * units] = narrow(g);
            out[u + 3 * units] = narrow(o);
        }
    }
}

/* One step back. The hidden state's gradient has two parts: `d_output` from the layer's result and
 * `d_next` from the step after. `d_cell` comes in as that of `after` and goes out as that of `before`.
 */
void cell_backward(int64_t rows, int64_t units, const bf16 *gates, const float *before,
                   const float *after, const float *d_output, const bf16 *d_next, float *d_cell,
                   bf16 *d_gates)
{
    for (int64_t row = 0; row < rows; row++) {
        const bf16 *in = gates + row * 4 * units;
        bf16 *out = d_gates + row * 4 * units;
#pragma GCC ivdep
        for (int64_t u = 0; u < units; u++) {
            int64_t at = row * units + u;
            float i = widen(in[u]), f = widen(in[u + units]);
            float g = widen(in[u + 2 * units]), o = widen(in[u + 3 * units]);
            float tanh_cell = tangent(after[at]);
            float d_hidden = d_output[at] + widen(d_next[at]);
            float d = d_cell[at] + d_hidden * o * (1.0f - tanh_cell * tanh_cell);
            out[u] = narrow(d * g * i * (1.0f - i));
            out[u + units] = narrow(d * before[at] * f * (1.0f - f));
            out[u + 2 * units] = narrow(d * i * (1.0f - g * g));
            out[u + 3 * units] = narrow(d_hidden * tanh_cell * o * (1.0f - o));
            d_cell[at] = d * f;
        }
    }
}

/* ---------------------------------------------------------------- softmax */

enum { LANES = 32 }; /* partial results of a row, in the same order on every processor */

static inline float logit(const bf16 *row, const float *bias, int64_t word)
{
    return widen(row[word]) + bias[word];
}

static float highest(const bf16 *row, const float *bias, int64_t words)
{
    float top[LANES];
    for (int lane = 0; lane < LANES; lane++) top[lane] = -3.4e38f;
    int64_t word = 0;
    for (; word + LANES <= words; word += LANES)
        for (int lane = 0; lane < LANES; lane++) {
            float x = logit(row, bias, word + lane);
            top[lane] = x > top[lane] ? x : top[lane];
        }
    for (; word < words; word++) {
        float x = logit(row, bias, word);
        top[0] = x > top[0] ? x : top[0];
    }
    for (int lane = 1; lane < LANES; lane++) top[0] = top[lane] > top[0] ? top[lane] : top[0];
    return top[0];
}

static float sum_of_exponentials(const bf16 *row, const float *bias, int64_t words, float top)
{
    float sum[LANES] = {0};
    int64_t word = 0;
    for (; word + LANES <= words; word += LANES)
        for (int lane = 0; lane < LANES; lane++)
            sum[lane] += exponential(logit(row, bias, word + lane) - top);
    for (; word < words; word++) sum[0] += exponential(logit(row, bias, word) - top);
    for (int lane = 1; lane < LANES; lane++) sum[0] += sum[lane];
    return sum[0];
}

static int64_t first_place(const bf16 *row, const float *bias, int64_t words, float top)
{
    int64_t word = 0;
    while (word < words - 1 && logit(row, bias, word) != top) word++;
    return word;
}

/* For rows first..last of `logits` (rows, words): the highest logit, the sum of the exponentials
 * relative to it and, unless `best` is null, the first word that has it.
 */
void softmax_sums(int64_t first, int64_t last, int64_t words, const bf16 *logits, const float *bias,
                  float *top, float *sum, int64_t *best)
{
    for (int64_t at = first; at < last; at++) {
        const bf16 *row = logits + at * words;
        top[at] = highest(row, bias, words);
        sum[at] = sum_of_exponentials(row, bias, words, top[at]);
        if (best) best[at] = first_place(row, bias, words, top[at]);
    }
}

/* Turn rows first..last of `logits` into the gradient of their cross entropies: the softmax, less
 * `floor` at each word and less `peak` more at the true one.
 */
void softmax_gradients(int64_t first, int64_t last, int64_t words, bf16 *logits, const float *bias,
                       const float *top, const float *sum, const int64_t *truth, float floor,
                       float peak)
{
    for (int64_t at = first; at < last; at++) {
        bf16 *row = logits + at * words;
        float highest = top[at], share = 1.0f / sum[at];
        float true_logit = logit(row, bias, truth[at]);
        for (int64_t word = 0; word < words; word++)
            row[word] = narrow(exponential(logit(row, bias, word) - highest) * share - floor);
        row[truth[at]] = narrow(exponential(true_logit - highest) * share - floor - peak);
    }
}

/* ---------------------------------------------------------------- whole numbers */

/* Write each row of `in` (rows, units) as scale * (whole - zero), with a scale that is a bfloat16 itself,
 * rounded by up to 0.4%: the largest number of a row becomes about `farthest` from zero, and 126 at most 127.
 */
void whole_rows(int64_t rows, int64_t units, const bf16 *in, uint8_t *whole, bf16 *scales,
                float farthest, float zero)
{
    for (int64_t row = 0; row < rows; row++) {
        const bf16 *from = in + row * units;
        uint8_t *to = whole + row * units;
        bf16 largest = 0x0d80; /* 2^-100, for a row of zeros */
        for (int64_t u = 0; u < units; u++) {
            bf16 size = from[u] & 0x7fff; /* without its sign a float compares as a whole number */
            largest = size > largest ? size : largest;
        }
        scales[row] = narrow(widen(largest) / farthest);
        float inverse = 1.0f / widen(scales[row]);
        for (int64_t u = 0; u < units; u++) /* 1.5 * 2^23 rounds; the lowest byte holds the number */
            to[u] = (uint8_t)bits_of(widen(from[u]) * inverse + (12582912.0f + zero));
    }
}
