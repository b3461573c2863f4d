// Counter-based random numbers, the same as sensorium.core.seeding: functions of (seed, t, index).
// Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").

type Words = [number, number, number, number];

/** High and low 32 bits of a product of two 32-bit words. */
function multiply(a: number, b: number): [number, number] {
  const [aLow, aHigh, bLow, bHigh] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const first = aHigh * bLow + ((aLow * bLow) >>> 16);
  const second = aLow * bHigh + (first % 65536);
  return [aHigh * bHigh + Math.floor(first / 65536) + Math.floor(second / 65536), Math.imul(a, b) >>> 0];
}

/** Four random 32-bit words for a 64-bit key and a 128-bit counter. */
export function philox(key: [number, number], counter: Words): Words {
  let [k0, k1] = key;
  let [c0, c1, c2, c3] = counter;
  for (let round = 0; round < 10; round++) {
    const [high0, low0] = multiply(0xd2511f53, c0);
    const [high1, low1] = multiply(0xcd9e8d57, c2);
    [c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0];
    [k0, k1] = [(k0 + 0x9e3779b9) >>> 0, (k1 + 0xbb67ae85) >>> 0];
  }
  return [c0, c1, c2, c3];
}

/** n uniform numbers in [0, 1) with 24 random bits. The seed is a whole number below 2^53. */
export function uniform(seed: number, t: number, n: number): number[] {
  const key: [number, number] = [seed >>> 0, Math.floor(seed / 2 ** 32)];
  const found: number[] = [];
  for (let block = 0; found.length < n; block++)
    found.push(...philox(key, [block, t >>> 0, 0, 0]).map((word) => (word >>> 8) / 2 ** 24));
  return found.slice(0, n);
}

/** n standard normal numbers, by the Box-Muller transform. */
export function normal(seed: number, t: number, n: number): number[] {
  const half = Math.ceil(n / 2);
  const draws = uniform(seed, t, 2 * half);
  const radius = draws.slice(0, half).map((u) => Math.sqrt(-2 * Math.log(1 - u)));
  const angle = draws.slice(half).map((u) => 2 * Math.PI * u);
  return [...radius.map((r, i) => r * Math.cos(angle[i]!)), ...radius.map((r, i) => r * Math.sin(angle[i]!))].slice(
    0,
    n,
  );
}

/** A random order of 0 ... n - 1 (Fisher and Yates). */
export function permutation(seed: number, t: number, n: number): number[] {
  const order = Array.from({ length: n }, (_, i) => i);
  uniform(seed, t, n).forEach((u, i) => {
    const j = i + Math.floor(u * (n - i));
    [order[i], order[j]] = [order[j]!, order[i]!];
  });
  return order;
}
