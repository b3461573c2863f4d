import { describe, expect, it } from "vitest";
import { normal, permutation, philox, uniform } from "../src/scenes/random";
import expected from "./fixtures.json";

describe("random numbers", () => {
  it("are those of Random123's known answers", () => {
    const ones = 0xffffffff;
    expect(philox([0, 0], [0, 0, 0, 0])).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    expect(philox([ones, ones], [ones, ones, ones, ones])).toEqual([0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
    const pi = philox([0xa4093822, 0x299f31d0], [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344]);
    expect(pi).toEqual([0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]);
  });

  it("are those of Python", () => {
    for (const { seed, t, uniform: flat, normal: bell } of expected.random) {
      expect(uniform(seed, t, flat.length)).toEqual(flat);
      normal(seed, t, bell.length).forEach((x, i) => {
        expect(x).toBeCloseTo(bell[i]!, 5);
      });
    }
  });

  it("make permutations, all of them", () => {
    const seen = new Set<string>();
    for (let t = 0; t < 200; t++) {
      const order = permutation(3, t, 3);
      expect([...order].sort()).toEqual([0, 1, 2]);
      seen.add(order.join());
    }
    expect(seen.size).toBe(6);
  });
});
