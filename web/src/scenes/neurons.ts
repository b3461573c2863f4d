// AttentionNeuron for vector observations (Tang & Ha 2021, section 3.1), and the feed-forward baseline.

/** Linear layers, each followed by tanh. */
export type Layers = { weight: number[][]; bias: number[] }[];

/** Weights of sensorium's SensoryPolicy: H hidden units, M rows of the code; `queries` is (Q Wq + bq) Wk, or a projection of the outputs. */
export interface NeuronWeights {
  weight_ih: number[][]; // [4 H or H, 1 + actions or 1]
  weight_hh?: number[][]; // [4 H, H]; absent: the neurons are not recurrent
  bias: number[]; // [4 H or H]
  pooling: "attention" | "mean" | "max";
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

/** A permutation-invariant agent: one network a slot, pooled by attention or, in ablations, their mean or maximum. Any number of slots. */
export class Neurons {
  private cells: Cell[] = [];
  private action: number[] = [];

  constructor(private readonly weights: NeuronWeights) {
    this.clear();
  }

  /** Set the memory of every neuron and the previous action to zero. */
  clear(): void {
    this.cells = [];
    this.action = this.weights.head.at(-1)!.bias.map(() => 0);
  }

  /** The action for an observation of any length. */
  act(observation: number[]): number[] {
    this.cells = this.stepped(observation);
    const { gain, head, pooling } = this.weights;
    const code = this.read(this.cells).map((row) => {
      if (pooling === "max") return Math.tanh(Math.max(...row));
      if (pooling === "mean") return Math.tanh(row.reduce((a, b) => a + b, 0) / row.length);
      return Math.tanh(gain * dot(row, observation));
    });
    this.action = feedForward(head, code);
    return this.action;
  }

  /** Attention weight of each row of the code on each slot at a step on this observation, [M][N]; in ablations the projected outputs. */
  attention(observation: number[]): number[][] {
    return this.read(this.stepped(observation));
  }

  private read(cells: Cell[]): number[][] {
    const { queries, offset, scale, pooling } = this.weights;
    return queries.map((query, row) =>
      cells.map(({ hidden }) =>
        pooling === "attention" ? Math.tanh((dot(query, hidden) + offset[row]!) / scale) : dot(query, hidden),
      ),
    );
  }

  /** The neurons after a step. */
  private stepped(observation: number[]): Cell[] {
    const width = this.weights.queries[0]!.length;
    const blank = (): Cell => ({ hidden: Array(width).fill(0), cell: Array(width).fill(0) });
    return observation.map((value, slot) => this.step(value, this.cells[slot] ?? blank()));
  }

  /** One neuron: an LSTM step on its sensor and the previous action, gates in the order i, f, g, o; or one layer. */
  private step(value: number, { hidden, cell }: Cell): Cell {
    const { weight_ih, weight_hh, bias } = this.weights;
    // without the action where the neurons do not get it
    const inputs = [value, ...this.action].slice(0, weight_ih[0]!.length);
    const gates = bias.map((b, i) => b + dot(inputs, weight_ih[i]!) + (weight_hh ? dot(weight_hh[i]!, hidden) : 0));
    if (!weight_hh) return { hidden: gates.map(Math.tanh), cell };
    const h = hidden.length;
    const after = cell.map((c, i) => sigmoid(gates[h + i]!) * c + sigmoid(gates[i]!) * Math.tanh(gates[2 * h + i]!));
    return { hidden: after.map((c, i) => sigmoid(gates[3 * h + i]!) * Math.tanh(c)), cell: after };
  }
}
