import type { ReportFiles } from '../../src/trust/evidence/report-files.ts';

/**
 * Linux's configfs-tsm as its documentation has it (Documentation/ABI/testing/configfs-tsm-report): a directory is a
 * request, its files come with it, each write counts, a read of outblob makes the report of what was written last.
 */
export interface FakePlan {
  provider: string;
  /** Over what was written to inblob, and at what level. */
  makeReport: (inblob: Uint8Array, level: number) => Uint8Array;
  auxblob: Uint8Array | undefined;
  privilegeFloor: number | undefined;
  /** Error codes by operation: "mkdir", "read NAME", "write NAME". */
  errors: Readonly<Record<string, string>>;
  /** Called before each read of outblob, with what another process can do: write inblob. */
  interfere: (write: (bytes: Uint8Array) => void) => void;
}

interface Request {
  inblob: Uint8Array;
  level: number;
  generation: number;
}

export const FAKE_ROOT = '/config/tsm/report';

export class FakeConfigfs implements ReportFiles {
  readonly requests = new Map<string, Request>();
  madeCount = 0;
  readonly #plan: FakePlan;

  constructor(plan: FakePlan) {
    this.#plan = plan;
  }

  async makeDirectory(path: string): Promise<void> {
    this.#failIfPlanned('mkdir');
    if (!path.startsWith(`${FAKE_ROOT}/`)) throw fileError('ENOENT');
    if (this.requests.has(path)) throw fileError('EEXIST');
    this.requests.set(path, { inblob: new Uint8Array(0), level: 0, generation: 0 });
    this.madeCount++;
  }

  async removeDirectory(path: string): Promise<void> {
    if (!this.requests.delete(path)) throw fileError('ENOENT');
  }

  async read(path: string): Promise<Uint8Array> {
    const { request, name } = this.#find(path);
    this.#failIfPlanned(`read ${name}`);
    return this.#content(request, name);
  }

  async write(path: string, bytes: Uint8Array): Promise<void> {
    const { request, name } = this.#find(path);
    this.#failIfPlanned(`write ${name}`);
    if (name === 'inblob') request.inblob = bytes.slice();
    else if (name === 'privlevel') request.level = Number(new TextDecoder().decode(bytes));
    else throw fileError('EACCES');
    if (request.level < (this.#plan.privilegeFloor ?? 0)) throw fileError('EINVAL');
    request.generation++;
  }

  #content(request: Request, name: string): Uint8Array {
    const { provider, auxblob, privilegeFloor, makeReport, interfere } = this.#plan;
    if (name === 'provider') return text(`${provider}\n`);
    if (name === 'generation') return text(`${request.generation}\n`);
    if (name === 'privlevel_floor' && privilegeFloor !== undefined) return text(`${privilegeFloor}\n`);
    if (name === 'auxblob' && auxblob !== undefined) return auxblob;
    if (name !== 'outblob') throw fileError('ENOENT');
    interfere((bytes) => {
      request.inblob = bytes;
      request.generation++;
    });
    return makeReport(request.inblob, request.level);
  }

  #find(path: string): { request: Request; name: string } {
    const at = path.lastIndexOf('/');
    const request = this.requests.get(path.slice(0, at));
    if (request === undefined) throw fileError('ENOENT');
    return { request, name: path.slice(at + 1) };
  }

  #failIfPlanned(operation: string): void {
    const code = this.#plan.errors[operation];
    if (code !== undefined) throw fileError(code);
  }
}

function fileError(code: string): Error {
  return Object.assign(new Error(code), { code });
}

function text(content: string): Uint8Array {
  return new TextEncoder().encode(content);
}
