// AttentionNeuron for vector observations (Tang & Ha 2021, section 3.1), and the feed-forward baseline.

/** Linear layers, each followed by tanh. */
export type Layers = { weight: number[][]; bias: number[] }[];

/** Weights of sensorium's SensoryPolicy: H hidden units, M rows of the code; `queries` is (Q Wq + bq) Wk. */
export interface NeuronWeights {
  weight_ih: number[][]; // [4 H, 1 + actions]
  weight_hh: number[][]; // [4 H, H]
  bias: number[]; // [4 H]
  queries: number[][]; // [M, H]
  offset: number[]; // [M]
  scale: number;
  gain: number;
  head: Layers;
}

interface Cell {
  hidden: number[];
  cell: number[];
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

const dot = (a: number[], b: number[]): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);

/** The output of a feed-forward network with tanh after every layer. */
export function feedForward(layers: Layers, inputs: number[]): number[] {
  return layers.reduce((x, { weight, bias }) => weight.map((row, i) => Math.tanh(dot(row, x) + bias[i]!)), inputs);
}

/** A permutation-invariant agent: one LSTM a slot, pooled by attention. Any number of slots. */
export class Neurons {
  /** attention weight of each row of the code on each slot, [M][N] */
  attention: number[][] = [];
  private cells: Cell[] = [];
  private action: number[];

  constructor(private readonly weights: NeuronWeights) {
    this.action = this.idle();
  }

  /** Set the memory of every neuron to zero, and the previous action unless it is kept. */
  clear(keepAction = false): void {
    this.cells = [];
    if (!keepAction) this.action = this.idle();
  }

  /** The action for an observation of any length. */
  act(observation: number[]): number[] {
    const { queries, offset, scale, gain, head } = this.weights;
    const width = queries[0]!.length;
    const blank = (): Cell => ({ hidden: Array(width).fill(0), cell: Array(width).fill(0) });
    this.cells = observation.map((value, slot) => this.step(value, this.cells[slot] ?? blank()));
    this.attention = queries.map((query, row) =>
      this.cells.map(({ hidden }) => Math.tanh((dot(query, hidden) + offset[row]!) / scale)),
    );
    const message = this.attention.map((row) => Math.tanh(gain * dot(row, observation)));
    this.action = feedForward(head, message);
    return this.action;
  }

  private idle(): number[] {
    return Array(this.weights.weight_ih[0]!.length - 1).fill(0);
  }

  /** One neuron: an LSTM step on its sensor and the previous action, gates in the order i, f, g, o. */
  private step(value: number, { hidden, cell }: Cell): Cell {
    const { weight_ih, weight_hh, bias } = this.weights;
    const inputs = [value, ...this.action];
    const gates = bias.map((b, i) => b + dot(weight_ih[i]!, inputs) + dot(weight_hh[i]!, hidden));
    const h = hidden.length;
    const after = cell.map((c, i) => sigmoid(gates[h + i]!) * c + sigmoid(gates[i]!) * Math.tanh(gates[2 * h + i]!));
    return { hidden: after.map((c, i) => sigmoid(gates[3 * h + i]!) * Math.tanh(c)), cell: after };
  }
}
