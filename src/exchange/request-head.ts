import { FieldList } from './field-list.ts';

/**
 * The head of a request after the guard let it pass. It is kept for the life of the exchange, because filters change
 * fields and every attempt writes an upstream head from them.
 */
export class RequestHead extends FieldList {
  method = '';
  /** Path of the target, starting with '/'. */
  path = '/';
  /** Query without '?', '' when there is none or it is empty. */
  query = '';
  /** The target has a '?'. A proxy may not take even an empty query away (RFC 9110 section 7.7). */
  hasQuery = false;
  /** -1 when the body has no declared length. */
  contentLength = -1;
  isChunked = false;
  /** True when the connection must close after the answer. */
  closesConnection = false;
  /** True when the fields that say who asked (x-forwarded-*) are ours to send; a client's own are worth nothing. */
  sendsForwarded = false;
  /** Length of all fields as they stood on the wire, about. */
  fieldBytes = 0;

  get hasBody(): boolean {
    return this.isChunked || this.contentLength > 0;
  }

  get isHead(): boolean {
    return this.method === 'HEAD';
  }

  recycle(): void {
    this.method = '';
    this.path = '/';
    this.query = '';
    this.hasQuery = false;
    this.clear();
    this.contentLength = -1;
    this.isChunked = false;
    this.closesConnection = false;
    this.sendsForwarded = false;
    this.fieldBytes = 0;
  }
}
