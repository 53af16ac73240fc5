"""Every error that an endpoint answers with: one table for the page and for OpenAPI."""

ERRORS: tuple[tuple[int, str, str], ...] = (
    (400, "invalid_body", "the body is not JSON; NaN and Infinity are not JSON, a missing value is null"),
    (401, "unauthenticated", "the token is missing, expired, revoked or for another endpoint"),
    (403, "forbidden_origin", "a page of another site called from a browser"),
    (404, "path_not_found", "there is no such path, model or version here"),
    (405, "invalid_method", "the path takes another method, told in Allow"),
    (408, "exceeds_time", "the body did not arrive in time"),
    (413, "exceeds_body, exceeds_rows", "the call is too large: send it in parts"),
    (415, "invalid_content_type", "the body is not application/json, or compressed"),
    (422, "invalid_input", "the rows do not fit: fields names the columns, and the first row of each"),
    (500, "failed_prediction", "the model itself failed; only the type of its error is told"),
    (503, "unavailable_overload", "too many calls at once: try again after Retry-After seconds"),
    (504, "exceeds_time", "the model did not answer in time"),
)
