import type { Dice } from './dice.ts';
import { CALM } from './lossy-network.ts';
import type { Weather } from './lossy-network.ts';
import type { Plan } from './plan.ts';

/** Mostly mild: where nothing gets through nothing happens. */
export function drawWeather(dice: Dice, plan: Plan): Weather {
  const isHeavy = dice.chance(0.15);
  const isProtected = plan.mode !== 'plaintext';
  return {
    loss: isHeavy ? 0.3 : dice.pick([0, 0.02, 0.1]),
    duplicate: isHeavy ? 0.3 : dice.pick([0, 0.05]),
    corrupt: isProtected ? dice.pick([0, 0.02]) : 0,
    replay: isHeavy ? 0.2 : dice.pick([0, 0.02]),
    forge: isProtected ? dice.pick([0, 0.02]) : 0,
    alter: isProtected ? dice.pick([0, 0.05]) : 0,
    delayMsMin: 0.02,
    delayMsMax: dice.pick([0.1, 0.3, 2]),
    late: isHeavy ? 0.3 : dice.pick([0, 0.05]),
    lateMsMax: dice.pick([2, 10, 100]),
    outage: isHeavy ? 0.2 : dice.pick([0, 0.05, 0.1]),
    outageMsMax: dice.pick([2, 10]),
    clog: plan.clogs ? dice.pick([0, 0.01, 0.05]) : 0,
    clogMsMax: dice.pick([2, 20, 100]),
  };
}

/** What of it is not calm. */
export function describeWeather(weather: Weather): string {
  const fields = Object.entries(weather).filter(([name, value]) => value !== CALM[name as keyof Weather]);
  return fields.map(([name, value]) => `${name} ${value}`).join(', ') || 'calm';
}
