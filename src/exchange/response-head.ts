import { FieldList } from './field-list.ts';

/** The head of the endpoint's response on its way to the client; response filters may change it until it is committed. */
export class ResponseHead extends FieldList {
  /** 0 until a final head has come. */
  status = 0;
  /** -1 when the endpoint did not declare a length. */
  contentLength = -1;

  recycle(): void {
    this.status = 0;
    this.contentLength = -1;
    this.clear();
  }
}
