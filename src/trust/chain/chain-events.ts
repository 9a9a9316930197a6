import type { AuditDetail } from './audit-log.ts';
import type { KeyStep } from './key-rotation.ts';

/** What happens at CAS and LAS, for whoever runs them. Times are from the nonce to the answer. */
export type CasEvent =
  | {
      readonly type: 'las-attested';
      readonly lasId: string;
      readonly url: string;
      readonly kind: string;
      readonly ms: number;
    }
  | {
      readonly type: 'admitted';
      readonly role: 'replica' | 'client';
      readonly memberIndex: number | null;
      readonly lasId: string | null;
      readonly kind: string;
      readonly ms: number;
    }
  | {
      readonly type: 'refused';
      readonly rule: string;
      readonly allowed: string;
      readonly seen: string;
      readonly about: AuditDetail;
    }
  /** Its certificate has ended, and it has no other. */
  | { readonly type: 'lapsed'; readonly memberIndex: number }
  | ({ readonly type: 'data-key' } & KeyStep)
  | { readonly type: 'serving'; readonly confirmedBy: string }
  | { readonly type: 'overtaken'; readonly counter: number; readonly witness: string };
