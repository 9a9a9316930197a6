import type { Model } from './model.ts';
import type { Operation } from './operation.ts';

/** Null: absent, as every key is at first. */
export type RegisterState = string | null;

/** One key of the store. */
export const registerModel: Model<RegisterState, Operation> = {
  initial: null,
  step(state, { kind, value }) {
    switch (kind) {
      case 'get':
        return (value ?? null) === state ? state : undefined;
      case 'put':
        return value!;
      case 'delete':
        return null;
    }
  },
  identify: (state) => (state === null ? 'absent' : `=${state}`),
  isReadOnly: ({ kind }) => kind === 'get',
};
