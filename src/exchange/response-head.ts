import { BodyKind, type ResponseParser } from '../http/index.ts';
import { FieldList } from './field-list.ts';

/** The head of the endpoint's response on its way to the client; response filters may change it until it is committed. */
export class ResponseHead extends FieldList {
  /** 0 until a final head has come. */
  status = 0;
  /** -1 when the endpoint did not declare a length. */
  contentLength = -1;

  /** The head of an attempt's answer. What an earlier attempt had, which broke before the commit point, is gone. */
  take(response: ResponseParser): void {
    const { status, bodyKind, contentLength, headerCount } = response;
    this.recycle();
    this.status = status;
    if (bodyKind === BodyKind.length || bodyKind === BodyKind.none) this.contentLength = contentLength;
    for (let index = 0; index < headerCount; index++) {
      this.append(response.headerNames[index]!, response.headerValues[index]!);
    }
  }

  recycle(): void {
    this.status = 0;
    this.contentLength = -1;
    this.clear();
  }
}
