import type { Model } from './model.ts';
import type { PlainOperation } from './operation.ts';

/** Null: absent, as every key is at first. */
export type RegisterState = string | null;

/** One key that only gets, puts and deletes are known of. */
export const registerModel: Model<RegisterState, PlainOperation> = {
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
