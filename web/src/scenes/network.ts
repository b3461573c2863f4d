import type { Pixels } from "../messages";

// ONNX networks on onnxruntime-web: CPU, one thread. The runtime is a file of its own, loaded by pages that need it.

interface Tensor {
  data: Float32Array;
}

interface Session {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  run(feeds: Record<string, Tensor>): Promise<Record<string, Tensor>>;
}

interface Runtime {
  env: { wasm: { numThreads: number; wasmBinary?: ArrayBuffer } };
  Tensor: new (type: "float32", data: Float32Array, dims: number[]) => Tensor;
  InferenceSession: { create(model: Uint8Array, options: object): Promise<Session> };
}

let runtime: Promise<Runtime> | null = null;

async function started(): Promise<Runtime> {
  const url = new URL("assets/ort.mjs", document.baseURI).href;
  const [module, packed] = await Promise.all([import(url) as Promise<Runtime>, bytes("assets/ort.wasm.gz")]);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  module.env.wasm.numThreads = 1;
  module.env.wasm.wasmBinary = await new Response(stream).arrayBuffer();
  return module;
}

async function bytes(url: string): Promise<ArrayBuffer> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} cannot be read`);
  return response.arrayBuffer();
}

/** A network for one row: vectors by name in, vectors by name out. Inputs that it lacks are left out. */
export interface Network {
  outputs: readonly string[];
  run(inputs: Record<string, Float32Array>): Promise<Record<string, Float32Array>>;
}

/** The network of an ONNX file. */
export async function network(url: string): Promise<Network> {
  runtime ??= started();
  const [ort, file] = await Promise.all([runtime, bytes(url)]);
  const session = await ort.InferenceSession.create(new Uint8Array(file), { executionProviders: ["wasm"] });
  return {
    outputs: session.outputNames,
    async run(inputs) {
      const feeds: Record<string, Tensor> = {};
      for (const name of session.inputNames) {
        const value = inputs[name];
        if (!value) throw new Error(`${url} needs ${name}`);
        feeds[name] = new ort.Tensor("float32", value, [1, value.length]);
      }
      const found = await session.run(feeds);
      return Object.fromEntries(Object.entries(found).map(([name, tensor]) => [name, tensor.data]));
    },
  };
}

/** The picture that V's decoder, z -> frame [1, 3, size, size] in [0, 1], draws of z. */
export async function decoded(decoder: Network, z: ArrayLike<number>): Promise<Pixels> {
  const { frame } = await decoder.run({ z: Float32Array.from(z) });
  const plane = frame!.length / 3;
  const size = Math.sqrt(plane);
  const data = new Uint8Array(3 * plane);
  for (let i = 0; i < plane; i++)
    for (let c = 0; c < 3; c++) data[3 * i + c] = Math.round(255 * frame![c * plane + i]!);
  return { width: size, height: size, data };
}
