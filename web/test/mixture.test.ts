import { describe, expect, it } from "vitest";
import { mixtureSample } from "../src/scenes/mixture";
import fixtures from "./fixtures.json";

describe("samples of mixtures", () => {
  it("are those of Python", () => {
    for (const { temperature, log_weight, mean, log_sd, choice, noise, sample } of fixtures.mixtures) {
      const found = mixtureSample(log_weight.flat(), mean.flat(), log_sd.flat(), temperature, choice, noise);
      found.forEach((x, i) => {
        expect(x).toBeCloseTo(sample[i]!, 4);
      });
    }
  });
});
