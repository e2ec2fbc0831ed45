/** @NAME@, compiled by prunemap @VERSION@ to WebAssembly. */

export type InputName = @INPUTS@;
export type OutputName = @OUTPUTS@;
/** float32 tensors are Float32Array; integers and bool Int32Array. Dense, row-major. */
export type Tensor = Float32Array | Int32Array;
/** "simd" runs in every engine of today; "relaxed-simd" has fused multiply-adds and is faster where it is there. */
export type Variant = "relaxed-simd" | "simd";

export interface TensorInfo<Name extends string> {
  readonly name: Name;
  readonly dtype: "float32" | "int32" | "int64" | "bool";
  readonly shape: readonly number[];
  readonly elements: number;
}

export interface LoadOptions {
  /** Where the other files are; default: beside this module. */
  base?: string | URL;
  /** Default: the best that the engine has. */
  variant?: Variant;
  /**
   * Threads that run one network together, in workers; default 1. More need an export with --web-threads, and a page that is
   * isolated from others: its server sends Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy:
   * require-corp. At most navigator.hardwareConcurrency pay.
   */
  threads?: number;
  /** Instead of the global fetch; workers load worker.js by themselves. */
  fetch?: (url: URL, init?: RequestInit) => Promise<Response>;
  /** Called while the weights come in, with bytes. */
  onProgress?: (loaded: number, total: number) => void;
  /** Stops the loading. */
  signal?: AbortSignal;
}

export interface Check {
  /** Largest error of an output over its largest magnitude. */
  readonly maxRelativeError: number;
  readonly tolerance: number;
  readonly madeBy: string;
  readonly passed: boolean;
}

export interface Model {
  readonly inputs: readonly TensorInfo<InputName>[];
  readonly outputs: readonly TensorInfo<OutputName>[];
  /** What timeLayers times: layers, inputs, outputs. */
  readonly layers: readonly string[];
  readonly variant: Variant;
  readonly threads: number;
  /** Run once; blocks its thread. A single input may come without its name. */
  run(inputs: Tensor | Record<InputName, Tensor>): Record<OutputName, Tensor>;
  /** Seconds of each run. */
  timeRuns(inputs: Tensor | Record<InputName, Tensor>, runs: number): Float64Array;
  /** Seconds of each run, by layer. */
  timeLayers(inputs: Tensor | Record<InputName, Tensor>, runs: number): { name: string; seconds: Float64Array }[];
  /** Run on probeInputs() and compare with the stored reference. */
  check(): Promise<Check>;
  close(): void;
}

export const info: {
  readonly name: string;
  readonly inputs: readonly TensorInfo<InputName>[];
  readonly outputs: readonly TensorInfo<OutputName>[];
  readonly layers: readonly string[];
  readonly weightBytes: number;
  /** What several threads need; null: this export runs with one. */
  readonly threads: {
    readonly initialPages: number;
    readonly stackBytes: number;
    readonly bytes: number;
    readonly bytesPerThread: number;
  } | null;
};
export function isSupported(variant: Variant): boolean;
export function load(options?: LoadOptions): Promise<Model>;
export function probeInputs(): Record<InputName, Tensor>;
