/**
 * Of an older scrape no picker believes anything, and `/status` shows nothing: about three of the longest intervals between
 * two (1024 endpoints are read every 5 s). What a gateway counts itself goes on.
 */
export const scrapeStaleMs = 15_000;

/** What an endpoint's engine said of itself last. */
export interface EndpointScrape {
  queueDepth: number;
  runningRequests: number;
  /** 0..1. */
  kvCacheUsageRatio: number;
  /** Clock reading; how old it may be is up to the reader, at most `scrapeStaleMs`. */
  scrapedAtMs: number;
}
