// The swing-up of a cart-pole, the same equations as sensorium.envs.cart_pole.

import { normal, uniform } from "./random";

const GRAVITY = 9.82; // m/s2
const POLE_MASS = 0.5; // kg
const TOTAL_MASS = 1; // kg
export const POLE_LENGTH = 0.6; // m
const POLE_MOMENT = POLE_MASS * POLE_LENGTH; // kg m
export const FORCE = 10; // N at action 1
const FRICTION = 0.1; // N s/m
export const DT = 0.01; // s
export const TRACK = 2.4; // m from the middle to either end

/** Position m, speed m/s, angle rad (0 is upright; positive leans left), angular velocity rad/s. */
export interface State {
  position: number;
  speed: number;
  angle: number;
  spin: number;
}

/** The initial state: from a wide range where `hard`, otherwise a pole that hangs nearly still. */
export function initial(seed: number, hard: boolean): State {
  if (hard) {
    const [position, speed, angle, spin] = uniform(seed, 0, 4) as [number, number, number, number];
    return {
      position: (2 * position - 1) * TRACK,
      speed: 20 * speed - 10,
      angle: (0.5 + angle) * Math.PI,
      spin: 20 * spin - 10,
    };
  }
  const [position, speed, angle, spin] = normal(seed, 0, 4).map((x) => 0.2 * x) as [number, number, number, number];
  return { position, speed, angle: angle + Math.PI, spin };
}

/** The state after 0.01 s of a force on the cart in newtons (explicit Euler: positions use the old velocities). */
export function transition({ position, speed, angle, spin }: State, force: number): State {
  const [s, c] = [Math.sin(angle), Math.cos(angle)];
  const cart =
    (-2 * POLE_MOMENT * spin ** 2 * s + 3 * POLE_MASS * GRAVITY * s * c + 4 * force - 4 * FRICTION * speed) /
    (4 * TOTAL_MASS - 3 * POLE_MASS * c ** 2);
  const pole =
    (-3 * POLE_MOMENT * spin ** 2 * s * c + 6 * TOTAL_MASS * GRAVITY * s + 6 * (force - FRICTION * speed) * c) /
    (4 * POLE_LENGTH * TOTAL_MASS - 3 * POLE_MOMENT * c ** 2);
  return {
    position: position + speed * DT,
    speed: speed + cart * DT,
    angle: angle + spin * DT,
    spin: spin + pole * DT,
  };
}

/** The force of an action in [-1, 1]. */
export function force(action: number): number {
  return FORCE * Math.max(-1, Math.min(1, action));
}

/** The five sensors: position, speed, cos angle, sin angle, spin. */
export function observe({ position, speed, angle, spin }: State): number[] {
  return [position, speed, Math.cos(angle), Math.sin(angle), spin];
}

/** Reward of a step: 1 for an upright pole in the middle of the track. */
export function reward({ position, angle }: State): number {
  return ((Math.cos(angle) + 1) / 2) * Math.cos(((Math.PI / 2) * position) / TRACK);
}

export function terminated({ position }: State): boolean {
  return Math.abs(position) > TRACK;
}
