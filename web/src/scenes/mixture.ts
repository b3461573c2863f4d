/** A sample from mixtures of normals at a temperature, as sensorium.systems.world_models.equations.mixture_sample.
 *
 * All of `logWeight`, `mean`, `logSd` hold [z, k] numbers row by row; `choice` is uniform in [0, 1), `noise` standard normal, [z]. */
export function mixtureSample(
  logWeight: ArrayLike<number>,
  mean: ArrayLike<number>,
  logSd: ArrayLike<number>,
  temperature: number,
  choice: number[],
  noise: number[],
): Float32Array {
  const size = choice.length;
  const k = mean.length / size;
  return Float32Array.from({ length: size }, (_, i) => {
    const scaled = Array.from({ length: k }, (_, j) => logWeight[i * k + j]! / temperature);
    const top = Math.max(...scaled);
    const weights = scaled.map((x) => Math.exp(x - top));
    const total = weights.reduce((a, b) => a + b, 0);
    // the first component whose cumulative weight exceeds the uniform number
    let chosen = 0;
    for (let sum = weights[0]! / total; chosen < k - 1 && choice[i]! >= sum; sum += weights[chosen]! / total)
      chosen += 1;
    const at = i * k + chosen;
    return mean[at]! + Math.exp(logSd[at]!) * Math.sqrt(temperature) * noise[i]!;
  });
}
